"""The embedded setup as a user starts it: real Airflow, real model server, real demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from local.airflow_api import Airflow
from local.environment import Local
from pipeline_tasks.core.store import Store
from tests.server import PROJECT, environment, free_port
from tests.small import THREE_MISTAKES, csv_text


class Live:
    """`python -m local <command>` in a home and on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.pipelines = folder / "pipelines"
        self.pipelines.mkdir(parents=True)
        self.output = folder / "output.log"
        self.local = Local(home=self.home, ui_port=free_port(), server_port=free_port())
        self.store = Store(self.home / "store")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> None:
        """Start it; `wait_for` waits."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local", *words],
                cwd=PROJECT,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [sys.executable, "-m", "local", *words],
            cwd=PROJECT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """What the launcher is told, as a user tells it."""
        return environment(
            PERENNIAL_HOME=str(self.home),
            PERENNIAL_PIPELINES=str(self.pipelines),
            PERENNIAL_UI_PORT=str(self.local.ui_port),
            PERENNIAL_SERVER_PORT=str(self.local.server_port),
        )

    def wait_for(self, is_true: Callable[[], Any], what: str, seconds: float = 240) -> None:
        """Wait until `is_true()`; fails with what was printed when it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not is_true():
            assert self._process is not None
            assert self._process.poll() is None, f"ended before {what}:\n{self.text()}"
            assert time.monotonic() < deadline, f"waited for {what} in vain:\n{self.text()[-3000:]}"
            time.sleep(0.2)

    def wait_until_up(self) -> None:
        """Wait for the welcome."""
        self.wait_for(lambda: "Perennial is up" in self.text(), "the welcome")

    def text(self) -> str:
        """Everything printed so far."""
        return self.output.read_text()

    def family(self) -> list[psutil.Process]:
        """The launcher and every process below it."""
        assert self._process is not None
        launcher = psutil.Process(self._process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def stop(self, how: int = signal.SIGINT) -> int:
        """Ctrl-C (or another signal); returns the exit status."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(timeout=90)

    def airflow(self) -> Airflow:
        """Airflow's API as its admin."""
        return Airflow(self.local)

    def api(self) -> httpx.Client:
        """The same without our client around it."""
        return self.airflow()._http

    def task_log(self, dag: str, run: str, task: str, attempt: int = 1) -> str:
        """A task's log as the UI shows it."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        reply = self.api().get(path, headers={"accept": "application/json"}).raise_for_status()
        return "\n".join(
            " ".join([line["event"], *(one["exc_value"] for one in line.get("error_detail") or [])])
            for line in reply.json()["content"]
        )

    def demo(self) -> dict[str, Any]:
        """demo.json."""
        found: dict[str, Any] = json.loads((self.home / "demo.json").read_text())
        return found

    def write_pipelines(self) -> None:
        """The digits, small CSV pipelines, one with a broken CSV, and a file with mistakes."""
        digits = PROJECT / "dags" / "pipelines" / "digits.yaml"
        (self.pipelines / "digits.yaml").write_text(digits.read_text())
        (self.pipelines / "broken.yaml").write_text(THREE_MISTAKES)
        rows = self.pipelines / "rows.csv"
        rows.write_text(csv_text())
        lines = csv_text().splitlines()
        lines[6] = lines[6].replace(lines[6].split(",")[0], "wide", 1)
        (self.pipelines / "torn.csv").write_text("\n".join(lines) + "\n")
        sources = dict.fromkeys(("small", "fresh", "strict"), "rows.csv") | {"torn": "torn.csv"}
        for name, path in sources.items():
            content = {
                "schedule": None,
                "paused": False,
                "retries": 1,
                "source": {"kind": "csv", "path": str(self.pipelines / path)},
                "columns": {
                    "width": {"type": "number"},
                    "height": {"type": "number", "nullable": True},
                    "colour": {"type": "category", "values": ["red", "green", "blue"]},
                },
                "label": {"name": "kind", "classes": [0, 1]},
                "model": {"kind": "mlp", "hidden": [8]},
                "promotion": {"minimum": 0.999 if name == "strict" else 0.0},
                "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.03},
                "monitoring": {"schedule": "0 3 * * *"},
                "deployment": {"bake_minutes": 0.02},
                "tuning": {
                    "parameters": {"training.learning_rate": {"low": 0.001, "high": 0.1}},
                    "trials": 4,
                },
            }
            (self.pipelines / f"{name}.yaml").write_text(yaml.safe_dump(content))


def command(process: psutil.Process) -> list[str]:
    """What was typed to start it; of one that ended meanwhile, nothing."""
    with suppress(psutil.NoSuchProcess):  # a zombie is no process either
        return list(process.cmdline())
    return []


def still_alive(family: list[psutil.Process]) -> list[str]:
    """Which of these processes are there after a moment's patience."""
    _, alive = psutil.wait_procs(family, timeout=5)
    return [" ".join(command(process))[:200] for process in alive]


def listening(family: list[psutil.Process]) -> set[str]:
    """The addresses these processes listen on; of those that ended meanwhile, none."""
    found = set()
    for process in family:
        with suppress(psutil.NoSuchProcess):
            connections = process.net_connections(kind="inet")
            found |= {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    return found


def pid_exists(pid: int) -> bool:
    """There is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
