"""What every benchmark shares: CPU seconds of whole process trees, and how results are shown."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).parent.parent
DATA = Path(os.environ.get("PERENNIAL_TEST_DATA") or PROJECT.parent / "shared" / "data")


def data(name: str) -> Path:
    """A file of real data; the benchmark ends with a message where it is missing."""
    path = DATA / name
    if not path.is_file():
        sys.exit(f"{path} is missing: set PERENNIAL_TEST_DATA to the folder that holds {name}")
    return path


def environment(**changes: str) -> dict[str, str]:
    """The environment of a measured process: nothing of Airflow's or ours but `changes`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PERENNIAL"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | changes


def cpu_seconds(command: Sequence[str], env: Mapping[str, str], log: Path) -> float:
    """Run a command to its end; user and system CPU seconds of it and all it started and awaited.

    Ends the benchmark with the log's end when the command fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as output:
        status = subprocess.run(
            list(command), env=dict(env), cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT,
            check=False,
        ).returncode  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}:\n{log.read_text()[-3000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def tree_cpu_seconds() -> float:
    """CPU seconds so far of every process below this one, those that ended included."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def show(title: str, rows: Mapping[str, tuple[str, str]], result: Mapping[str, object]) -> None:
    """A table of name, measured and aimed-at, and as the last line one JSON object."""
    table = Table("", "measured", "aim", title=title)
    for name, (measured, aim) in rows.items():
        table.add_row(name, measured, aim)
    Console().print(table)
    print(json.dumps(result))
