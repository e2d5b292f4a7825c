"""What Airflow and Perennial add to a bare training script, and what they save.

CPU seconds of whole process trees, bytecode warm: electricity.csv, MLP 64-32-1, 5 epochs of
batch 256, evaluation and export. The peer is bench/electricity_bare.py, in turn with ours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console

from bench.measure import PROJECT, cpu_seconds, data, environment, show, tree_cpu_seconds

ROUNDS = 3
IDLE_SECONDS = 20
NAME = "electricity"
PIPELINE = {
    "schedule": None,
    "paused": False,
    "columns": {
        name: {"type": "number"}
        for name in ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
    },
    "label": {"name": "class", "classes": [0, 1]},
    "model": {"kind": "mlp", "hidden": [64, 32]},
    "training": {"epochs": 5, "batch_size": 256, "patience": 0},
    "target": {"kind": "archive"},
}
HEAVY = {"tensorflow", "keras", "pandas", "numpy", "sklearn", "scipy", "matplotlib"}
# Every measured process says at its end which heavy modules it has imported.
SITECUSTOMIZE = """
import atexit, os, sys
def _tell():
    found = {heavy} & set(sys.modules)
    with open(os.environ["BENCH_IMPORTS"], "a") as file:
        file.write(",".join(sorted(found)) + chr(10))
atexit.register(_tell)
"""
TRAIN_UNTIL = """
import os, signal, sys
from pipeline_tasks import config, loop
from pipeline_tasks.learning import fitting
from pipeline_tasks.run import Run
order, run_id, killed_in = fitting._order, sys.argv[1], int(sys.argv[2])
def order_or_die(rows, seed, epoch):
    if epoch == killed_in:
        os.kill(os.getpid(), signal.SIGKILL)
    return order(rows, seed, epoch)
fitting._order = order_or_die
run = Run(config=config.named("electricity"), id=run_id, force=True)
list(loop.run_steps(run, until="train"))
"""
PARSE = """
import runpy, sys, time
import airflow.sdk
began = time.process_time()
runpy.run_path(sys.argv[1])
print(time.process_time() - began, ",".join(sorted(set(sys.argv[2].split(",")) & set(sys.modules))))
"""


class Bench:
    """Everything in one folder that is removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.csv = folder / "electricity.csv"
        shutil.copy(data("electricity.csv"), self.csv)
        pipelines = folder / "pipelines"
        pipelines.mkdir()
        source = {"kind": "csv", "path": str(self.csv)}
        text = yaml.safe_dump({"source": source} | PIPELINE, sort_keys=False)
        (pipelines / f"{NAME}.yaml").write_text(text)
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITECUSTOMIZE.format(heavy=HEAVY))
        self.home = folder / "home"
        self.env = environment(
            PYTHONPATH=os.pathsep.join([str(site), str(PROJECT), str(PROJECT / "plugins")]),
            BENCH_IMPORTS=str(folder / "imports"),
            PERENNIAL_PIPELINES=str(pipelines),
            PERENNIAL_HOME=str(self.home),
            AIRFLOW_HOME=str(folder / "airflow"),
            AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
            AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
        )
        self.say = Console(stderr=True).print

    def bare(self) -> float:
        script, export = PROJECT / "bench" / "electricity_bare.py", self.folder / "bare"
        return self._cpu(sys.executable, str(script), str(self.csv), str(export))

    def dags_test(self) -> float:
        return self._cpu(str(Path(sys.executable).with_name("airflow")), "dags", "test", TRAIN)

    def forget(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def imported(self) -> set[str]:
        """Heavy modules that the last measured command imported, in any of its processes."""
        text = (self.folder / "imports").read_text()
        return set(filter(None, text.replace("\n", ",").split(",")))

    def _cpu(self, *command: str) -> float:
        (self.folder / "imports").write_text("")
        return cpu_seconds(command, self.env, self.folder / "log")


TRAIN = f"{NAME}__train"


def main() -> None:
    """Measure everything; 15 minutes at most."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        bench = Bench(Path(name))
        bench._cpu(str(Path(sys.executable).with_name("airflow")), "db", "migrate")
        bench.say("warming bytecode and file caches ...")
        bench.bare()
        bench.dags_test()
        found = _cold(bench) | _again(bench) | _scheduler(bench) | _killed(bench) | _parse(bench)
    _show(found)


def _cold(bench: Bench) -> dict[str, float]:
    bare, ours = [], []
    for number in range(ROUNDS):
        bench.forget()
        bare.append(bench.bare())
        ours.append(bench.dags_test())
        assert "train: done" in bench.log(), bench.log()[-3000:]
        bench.say(f"cold {number + 1}/{ROUNDS}: bare {bare[-1]:.1f}, dags test {ours[-1]:.1f}")
    ratios = [mine / peer for mine, peer in zip(ours, bare, strict=True)]
    return {
        "bare_cpu_seconds": round(statistics.median(bare), 2),
        "dags_test_cpu_seconds": round(statistics.median(ours), 2),
        "dags_test_ratio": round(statistics.median(ratios), 2),
    }


def _again(bench: Bench) -> dict[str, object]:
    unchanged = bench.dags_test()
    reused = "train: reused" in bench.log()
    imported = "tensorflow" in bench.imported()
    bench.say(f"unchanged: {unchanged:.1f}, reused {reused}, TensorFlow imported {imported}")
    lines = bench.csv.read_text().splitlines(keepends=True)
    bench.csv.write_text("".join(lines[:-1000]))
    bench.dags_test()
    trained = "train: done" in bench.log()
    bench.csv.write_text("".join(lines))
    return {
        "unchanged_cpu_seconds": round(unchanged, 2),
        "unchanged_reuses_the_model": reused,
        "unchanged_imports_tensorflow": imported,
        "trains_again_after_1000_rows_were_deleted": trained,
    }


def _scheduler(bench: Bench) -> dict[str, float]:
    """The services are real and their idle share, measured before, is taken off."""
    os.environ.update(PERENNIAL_PIPELINES=bench.env["PERENNIAL_PIPELINES"])
    from local.airflow_api import Airflow
    from local.environment import Local
    from local.services import running
    from tests.server import free_port

    local = Local(home=bench.folder / "services", ui_port=free_port(), server_port=free_port())
    with running(local, Console(stderr=True)):
        airflow = Airflow(local)
        airflow.wait_for_dag(TRAIN)
        used: list[float] = []
        bare: list[float] = []
        for number in range(ROUNDS + 1):
            idle = _idle_rate(first=number == 0)
            began, before = time.monotonic(), tree_cpu_seconds()
            run = airflow.trigger(TRAIN, force=True)
            state = airflow.follow(TRAIN, run, lambda *_: None)
            seconds = time.monotonic() - began
            used.append(tree_cpu_seconds() - before - idle * seconds)
            assert state == "success", state
            bare.append(bench.bare())
            bench.say(
                f"scheduler {number}/{ROUNDS}: {used[-1]:.1f} in {seconds:.0f} s, "
                f"idle {idle:.2f} a second, bare {bare[-1]:.1f}"
            )
    ratios = [mine / peer for mine, peer in zip(used[1:], bare[1:], strict=True)]
    return {
        "scheduler_cpu_seconds": round(statistics.median(used[1:]), 2),
        "scheduler_ratio": round(statistics.median(ratios), 2),
        "idle_cpu_share": round(idle, 3),
    }


def _idle_rate(*, first: bool) -> float:
    time.sleep(30 if first else 5)
    before, began = tree_cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (tree_cpu_seconds() - before) / (time.monotonic() - began)


def _killed(bench: Bench) -> dict[str, object]:
    def train(run: str, killed_in: int) -> int:
        command = [sys.executable, "-c", TRAIN_UNTIL, run, str(killed_in)]
        log = (bench.folder / "log").open("wb")
        return subprocess.run(
            command, env=bench.env, cwd=PROJECT, stdout=log, stderr=log, check=False
        ).returncode

    assert train("broken", 4) == -signal.SIGKILL
    assert train("broken", 0) == train("unbroken", 0) == 0
    folders = [
        bench.home / "store" / NAME / "runs" / run / "model" for run in ("broken", "unbroken")
    ]
    curves = [json.loads((folder / "curves.json").read_text()) for folder in folders]
    [resumed] = curves[0]["resumed_after"]
    same = (folders[0] / "weights.npz").read_bytes() == (folders[1] / "weights.npz").read_bytes()
    return {
        "epochs_after_the_kill_in_epoch_4": len(curves[0]["loss"]) - resumed,
        "weights_equal_an_unbroken_runs": same,
    }


def _parse(bench: Bench) -> dict[str, object]:
    slowest, heavy = 0.0, set()
    for path in sorted((PROJECT / "dags").glob("*.py")):
        command = [sys.executable, "-c", PARSE, str(path), ",".join(sorted(HEAVY))]
        reply = subprocess.run(
            command, env=bench.env, cwd=PROJECT, check=True, capture_output=True, text=True
        )
        seconds, _, modules = reply.stdout.splitlines()[-1].partition(" ")
        slowest = max(slowest, float(seconds))
        heavy |= set(filter(None, modules.split(",")))
    return {"slowest_parse_cpu_seconds": round(slowest, 2), "heavy_modules_in_parse": sorted(heavy)}


def _show(found: dict[str, object]) -> None:
    def yes(key: str) -> str:
        return "yes" if found[key] else "no"

    rows = {
        "bare script": (f"{found['bare_cpu_seconds']} CPU s", ""),
        "airflow dags test, cold": (
            f"{found['dags_test_cpu_seconds']} CPU s, {found['dags_test_ratio']} x bare",
            "2.8 x at most",
        ),
        "under the scheduler": (
            f"{found['scheduler_cpu_seconds']} CPU s, {found['scheduler_ratio']} x bare",
            "1.2 x at most",
        ),
        "the same again, unchanged": (f"{found['unchanged_cpu_seconds']} CPU s", "11 at most"),
        "... imports TensorFlow": (yes("unchanged_imports_tensorflow"), "no"),
        "1,000 rows deleted: trains again": (
            yes("trains_again_after_1000_rows_were_deleted"),
            "yes",
        ),
        "killed in epoch 4 of 5: epochs left": (
            str(found["epochs_after_the_kill_in_epoch_4"]),
            "2",
        ),
        "... same weights as unbroken": (yes("weights_equal_an_unbroken_runs"), "yes"),
        "slowest DAG file to parse": (f"{found['slowest_parse_cpu_seconds']} CPU s", "2 at most"),
        "... heavy modules": (", ".join(found["heavy_modules_in_parse"]) or "none", "none"),
    }
    show("Overhead", rows, {"bench": "overhead"} | found)


if __name__ == "__main__":
    main()
