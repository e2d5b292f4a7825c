"""Airflow's four components and the model server: started, watched, restarted, stopped."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import psutil
from rich.console import Console

from local.environment import HOST, Local, LocalError
from pipeline_tasks.config import PROJECT
from pipeline_tasks.core.fingerprint import digest_of_file

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
START_SECONDS = 300
STOP_SECONDS = 20
RESTARTS = 3
CALM_SECONDS = 300
LAST_LINES = 15

# In the order of starting; stopping goes backwards, so that a task that is ending still finds
# Airflow's API.
COMMANDS = {
    "model server": [sys.executable, "-m", "pipeline_tasks.serving"],
    "api-server": [AIRFLOW, "api-server"],
    "triggerer": [AIRFLOW, "triggerer", "--skip-serve-logs"],
    "dag-processor": [AIRFLOW, "dag-processor"],
    "scheduler": [AIRFLOW, "scheduler", "--skip-serve-logs"],
}
AIRFLOW_HEALTH = {
    "metadatabase": "database",
    "scheduler": "scheduler",
    "dag_processor": "dag-processor",
    "triggerer": "triggerer",
}


class Services:
    """The processes of one home folder."""

    def __init__(self, local: Local, console: Console) -> None:
        self.local = local
        self._console = console
        self._environment = local.environment()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths: dict[str, list[float]] = {}

    def start(self) -> None:
        """Start everything and wait until it is healthy. Raises LocalError when it does not."""
        self._stop_stale()
        _check_port("PERENNIAL_UI_PORT", self.local.ui_port, "Airflow's UI")
        _check_port("PERENNIAL_SERVER_PORT", self.local.server_port, "the model server")
        self.local.password()
        self._launch("model server")
        self._migrate()
        for name in COMMANDS:
            if name != "model server":
                self._launch(name)
        self._wait_healthy()

    def watch(self) -> None:
        """Restart what dies, for ever. Raises LocalError when one dies again and again."""
        while True:
            time.sleep(1)
            self.revive()

    def revive(self) -> None:
        """Start again what has died since the last look."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                deaths = [*self._deaths.get(name, []), time.monotonic()]
                self._deaths[name] = [at for at in deaths if at > deaths[-1] - CALM_SECONDS]
                self._console.print(self._obituary(name, process.returncode), markup=False)
                if len(self._deaths[name]) > RESTARTS:
                    raise LocalError(f"{name} died {len(deaths)} times in a row; giving up")
                time.sleep(2 ** (len(self._deaths[name]) - 1))
                self._console.print(f"starting {name} again")
                self._launch(name)

    def stop(self) -> None:
        """Stop every process that was started, and whatever they have started."""
        for name in reversed(list(COMMANDS)):
            process = self._processes.pop(name, None)
            if process:
                _end(process.pid)
                process.wait()
                self._pid_file(name).unlink(missing_ok=True)

    def _launch(self, name: str) -> None:
        command = list(COMMANDS[name])
        if name == "model server":
            command += ["--host", HOST, "--port", str(self.local.server_port)]
        log = self.local.logs / f"{name.replace(' ', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=self._environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[name] = process
        path = self._pid_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")

    def _migrate(self) -> None:
        """Bring Airflow's database to its version; nothing to do when it has been already."""
        done, version = (
            self.local.airflow_home / "migrated",
            digest_of_file(PROJECT / "requirements.txt"),
        )
        if done.is_file() and done.read_text() == version:
            return
        self._console.print("preparing Airflow's database ...")
        log = self.local.logs / "database.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            status = subprocess.run(
                [AIRFLOW, "db", "migrate"],
                env=self._environment,
                cwd=PROJECT,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if status:
            raise LocalError(f"Airflow's database could not be prepared:\n{_tail(log)}")
        done.write_text(version)

    def _wait_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        healthy: set[str] = set()
        with self._console.status("starting ..."):
            while len(healthy) < len(AIRFLOW_HEALTH) + 1:
                self._check_alive()
                for name in sorted(self._healthy() - healthy):
                    self._console.print(f"[green]✓[/green] {name} is up")
                    healthy.add(name)
                if time.monotonic() > deadline:
                    raise LocalError(
                        f"not everything is up after {START_SECONDS} s; "
                        f"only {', '.join(sorted(healthy)) or 'nothing'}. Logs: {self.local.logs}"
                    )
                time.sleep(0.5)
        # Airflow builds its execution API at the first call; the first task should not wait for it.
        httpx.get(f"{self.local.ui}/execution/health", timeout=60)

    def _check_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise LocalError(self._obituary(name, process.returncode))

    def _healthy(self) -> set[str]:
        found = set()
        try:
            health = httpx.get(f"{self.local.ui}/api/v2/monitor/health", timeout=5).json()
            for key, name in AIRFLOW_HEALTH.items():
                if (health.get(key) or {}).get("status") == "healthy":
                    found.add(name)
        except (httpx.HTTPError, ValueError):
            pass
        try:
            if httpx.get(f"{self.local.server}/readyz", timeout=5).status_code == httpx.codes.OK:
                found.add("model server")
        except httpx.HTTPError:
            pass
        return found

    def _obituary(self, name: str, status: int) -> str:
        log = self.local.logs / f"{name.replace(' ', '-')}.log"
        return f"{name} ended with status {status}. The end of {log}:\n{_tail(log)}"

    def _pid_file(self, name: str) -> Path:
        return self.local.home / "run" / f"{name.replace(' ', '-')}.pid"

    def _stop_stale(self) -> None:
        """Stop what an earlier launcher left behind when it was killed."""
        for path in sorted((self.local.home / "run").glob("*.pid")):
            pid, created = path.read_text().split()
            if _is_same(int(pid), float(created)):
                self._console.print(f"stopping the {path.stem} that an earlier run left behind")
                _end(int(pid))
            path.unlink()


@contextmanager
def running(local: Local, console: Console) -> Iterator[Services]:
    """Everything is up inside the block and gone after it."""
    services = Services(local, console)
    with _only_one(local.home), _termination_raises():
        try:
            services.start()
            yield services
        finally:
            with console.status("stopping ..."):
                services.stop()
            console.print("stopped")


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LocalError(
                f"Perennial is running already in {home} (process {file.read().strip()}). "
                "Stop it, or set PERENNIAL_HOME to another folder."
            ) from None
        _write_pid(file)
        yield


def _write_pid(file: IO[str]) -> None:
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()


@contextmanager
def _termination_raises() -> Iterator[None]:
    """SIGTERM ends the launcher as Ctrl-C does: by stopping everything first."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt), signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def _check_port(variable: str, port: int, what: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise LocalError(
                f"port {port}, for {what}, is taken by another program. "
                f"Choose another one: make run {variable}={port + 1}"
            ) from None


def _is_same(pid: int, created: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - created) < 1)
    except psutil.NoSuchProcess:
        return False


def _end(pid: int) -> None:
    """SIGTERM to the process, time to end well, then SIGKILL to it and all it has started."""
    try:
        family = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
        os.kill(pid, signal.SIGTERM)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
    _, alive = psutil.wait_procs([family[-1]], timeout=STOP_SECONDS)
    _, alive = psutil.wait_procs(family, timeout=0 if alive else 2)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
