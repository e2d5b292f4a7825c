"""What the prediction log costs: make bench NAME=prediction_log.

On the request's path (adding), in the log's thread (encoding and writing), in Parquet (compacting),
and in looking at the last of ten days of a million predictions each, beside one alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pipeline_tasks import observations
from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.serving.observed import prediction_log
from pipeline_tasks.serving.observed.prediction_log import Answered, PredictionLog, new_id

REQUESTS = 20_000
COLUMNS = 20
ROWS_AT_ONCE = 1_000


def answered(rows: int, moment: datetime) -> Answered:
    """A request with 20 numbers and a category a row."""
    random = np.random.default_rng(0)
    numbers = {f"x{i}": random.normal(size=rows).astype(np.float32) for i in range(COLUMNS)}
    return Answered(
        model="bench",
        version=1,
        id=new_id(),
        time=clock.text(moment),
        rows=rows,
        arrays=numbers | {"plan": np.array([b"basic"] * rows, dtype=object)},
        outputs={
            "label": np.zeros(rows, dtype=np.int64),
            "probabilities": np.full((rows, 2), 0.5, dtype=np.float32),
        },
        latency_ms=1.0,
    )


def adding(folder: Path) -> None:
    """One request after the other on this thread; the log's own thread works beside it."""
    prediction_log.FLUSH_SECONDS = 1000.0
    prediction_log.MAXIMUM_WAITING_BYTES = 2**40
    log = PredictionLog(Store(folder))
    requests = [answered(1, clock.now()) for _ in range(REQUESTS)]
    began = time.thread_time()
    for one in requests:
        log.add(one)
    print(f"adding a request           {(time.thread_time() - began) / REQUESTS * 1e6:8.2f} us")
    began = time.process_time()
    log.close()
    print(f"encoding and writing it    {(time.process_time() - began) / REQUESTS * 1e6:8.2f} us")
    assert log.written == REQUESTS


def write_day(folder: Path, day: datetime, rows: int) -> None:
    """A day's log as a server writes it."""
    prediction_log.FLUSH_SECONDS, prediction_log.MAXIMUM_WAITING_BYTES = 0.25, 2**40
    log = PredictionLog(Store(folder))
    for index in range(rows // ROWS_AT_ONCE):
        log.add(answered(ROWS_AT_ONCE, day + timedelta(milliseconds=index + 1)))
    while log.written < rows:
        time.sleep(0.1)
    log.close()


def measured(name: str, folder: Path, what: Callable[[Path], int]) -> None:
    """CPU seconds and the largest memory of this process, which has done nothing else."""
    began = time.process_time()
    rows = what(folder)
    seconds = time.process_time() - began
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's, too
    megabytes = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"{name:26} {seconds:8.2f} CPU s {megabytes:6.0f} MB at most, {rows} rows", flush=True)


def compact(folder: Path) -> int:
    """All closed segments."""
    return observations.rotate(Store(folder).observations("bench"))


def last_day(folder: Path) -> int:
    """Every row of the newest day, as collecting reads them."""
    found = Store(folder).observations("bench")
    since = max(path.name.removeprefix("date=") for path in (found / "predictions").iterdir())
    return sum(1 for _ in observations.predictions(found, since=since))


def main() -> None:
    """Everything, in processes of their own where memory is measured."""
    days, rows = int(sys.argv[1]) if len(sys.argv) > 1 else 3, 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adding(folder / "adding")
        for index in range(days):
            write_day(folder / "days", datetime(2026, 1, 1 + index, tzinfo=UTC), rows)
            if index == 0:
                apart("reading a day of lines", folder / "days", "last_day")
            apart("compacting a day", folder / "days", "compact")
            apart(f"reading 1 day of {index + 1}", folder / "days", "last_day")


def apart(title: str, folder: Path, function: str) -> None:
    """One measurement in a fresh process."""
    code = (
        "import sys; from pathlib import Path; from bench import prediction_log as bench; "
        "bench.measured(sys.argv[1], Path(sys.argv[2]), getattr(bench, sys.argv[3]))"
    )
    subprocess.run([sys.executable, "-c", code, title, str(folder), function], check=True)


if __name__ == "__main__":
    main()
