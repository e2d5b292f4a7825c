"""What one look costs: make bench NAME=collecting.

Windows of 10 thousand, 100 thousand and 1 million new predictions of 20 numbers and a category,
each with its label; and 10 thousand new ones after a history of none, 100 thousand and 1 million of
the same hours. CPU seconds and the largest memory, each in a process that does nothing else; first
the look that makes Parquet of what is new, then the same look again, of Parquet alone. It costs its
own rows if the largest history adds less than a twentieth of what a look at that history costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import orjson

from bench.measure import PROJECT, environment, show
from pipeline_tasks import config
from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Answer, Champion, MonitoringRecord, Ref, Verdict
from pipeline_tasks.observations import segments
from pipeline_tasks.run import Run

COLUMNS, ROWS_AT_ONCE = 20, 1_000
WINDOWS = (10_000, 100_000, 1_000_000)
HISTORIES = (0, 100_000, 1_000_000)
NEW = 10_000
LOOKS = ("lines", "again", "once more")
ADDED = 0.05
Cost = dict[str, float]
YAML = {
    "source": {"kind": "csv", "path": "none.csv"},
    "columns": {f"x{index}": {"type": "number"} for index in range(COLUMNS)}
    | {"plan": {"type": "category", "values": ["basic", "plus"]}},
    "label": {"name": "kind", "classes": [0, 1]},
    "model": {"kind": "mlp"},
    "target": {"kind": "archive"},
}


def main() -> None:
    """Measure every window, and the same window after every history."""
    if len(sys.argv) > 1:
        _tell(Path(sys.argv[1]), sys.argv[2])
        return
    table: dict[str, tuple[str, str]] = {}
    costs: dict[str, tuple[Cost, Cost]] = {}
    cases = [(f"{rows:,} new", 0, rows) for rows in WINDOWS]
    cases += [(_after(rows), rows, NEW) for rows in HISTORIES]
    for name, before, new in cases:
        costs[name] = first, again = _measured(before, new)
        print(name, first, again, file=sys.stderr, flush=True)
        shown = [
            f"{one['cpu_seconds']:.2f} CPU s, {one['peak_mib']:.0f} MiB" for one in costs[name]
        ]
        table[name] = ("; again: ".join(shown), "as after 0" if before else "")
    added = _added({name: again["cpu_seconds"] for name, (_, again) in costs.items()})
    table["added by the largest history"] = (
        f"{added:.1%} of a look at it", f"at most {ADDED:.0%}: its own rows"
    )  # fmt: skip
    verdict = {"added_share": round(added, 4), "costs_its_own_rows": added <= ADDED}
    result = {"bench": "collecting", **costs, **verdict}
    show("One look, of lines that become Parquet; again, of Parquet", table, result)


def _after(history: int) -> str:
    return f"{NEW:,} new after {history:,}"


def _added(seconds: dict[str, float]) -> float:
    """What the largest history adds to a look at what is new, as a share of a look at itself."""
    most = max(HISTORIES)
    return (seconds[_after(most)] - seconds[_after(0)]) / seconds[f"{most:,} new"]


def _measured(before: int, new: int) -> tuple[Cost, Cost]:
    """The first look, and the cheapest of those after it."""
    with tempfile.TemporaryDirectory() as scratch:
        _prepare(Path(scratch), before, new)
        first, *later = [_process(Path(scratch), run) for run in LOOKS]
    return first, min(later, key=lambda one: one["cpu_seconds"])


def _run(folder: Path, run: str) -> Run:
    path = folder / "bench.yaml"
    path.write_text(json.dumps(YAML))
    return Run(config=config.load(path), id=run, store=Store(folder / "store"), models=folder)


def _prepare(folder: Path, before: int, new: int) -> None:
    """A champion, a history that was looked at, and what is new since; in the last two hours."""
    from pipeline_tasks.steps.collect import collect

    run = _run(folder, "history")
    began = clock.now() - timedelta(hours=2)
    ref = Ref(pipeline="bench", run="none", artifact="none", digest="")
    artifacts = dict.fromkeys(("model", "evaluation", "prepared", "exported"), ref)
    champion = Champion(version=1, run="none", promoted_at=clock.text(began), **artifacts)
    run.store.set_champion("bench", champion)
    for rows, since in ((before, 0), (new, 60)):
        _log(run, began + timedelta(minutes=since), rows)
        if since == 0:
            facts = collect(run).summary
            run.store.record_monitoring("bench", _record(run, ref, facts))


def _record(run: Run, ref: Ref, facts: dict[str, object]) -> MonitoringRecord:
    return MonitoringRecord(
        id=run.id,
        at=clock.text(clock.now()),
        version=1,
        verdict=Verdict(answer=Answer.NO, reasons=()),
        causes=(),
        episode="",
        report=ref,
        numbers=facts,
        prediction_watermark=str(facts["prediction_watermark"]),
        label_watermark=str(facts["label_watermark"]),
    )


def _log(run: Run, began: datetime, rows: int) -> None:
    """Predictions and labels as servers write them, spread over 50 minutes."""
    numbers = count()
    folder = run.store.observations("bench")
    asked, told = segments.Writer(folder / "predictions"), segments.Writer(folder / "labels")
    bodies = _bodies()
    for request in range(rows // ROWS_AT_ONCE):
        moment = began + timedelta(minutes=50 * request * ROWS_AT_ONCE / rows)
        milliseconds = int(moment.timestamp() * 1000)
        keys = [f"{milliseconds:012x}7abc8{next(numbers):015x}-0" for _ in bodies]
        time, told_at = clock.text(moment), clock.text(moment + timedelta(minutes=5))
        heads = [b'{"id":"%s","time":"%s",' % (key.encode(), time.encode()) for key in keys]
        lines = [head + body for head, body in zip(heads, bodies, strict=True)]
        labels = [f'{{"id":"{key}","time":"{told_at}","label":1}}\n'.encode() for key in keys]
        asked.append(time, b"".join(lines))
        told.append(told_at, b"".join(labels))
    asked.close()
    told.close()
    for path in (folder / "labels").glob("*/*.jsonl"):  # as old as its last line
        last = clock.parse(orjson.loads(path.read_bytes().splitlines()[-1])["time"]).timestamp()
        os.utime(path, (last, last))


def _bodies() -> list[bytes]:
    """Lines of the prediction log without id and time, and without the bracket before these."""
    values = np.random.default_rng(0).normal(size=(ROWS_AT_ONCE, COLUMNS)).round(4).tolist()
    bodies = []
    for row in values:
        inputs = {f"x{index}": value for index, value in enumerate(row)} | {"plan": "basic"}
        line = {"model": "bench", "version": 1, "latency_ms": 1.5, "server": "7-abc", "sequence": 1}
        line |= {"inputs": inputs, "outputs": {"label": 1, "probabilities": [0.25, 0.75]}}
        bodies.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)[1:])
    return bodies


def _process(folder: Path, run: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.collecting", str(folder), run],
        env=environment(PYTHONPATH=str(PROJECT)), cwd=PROJECT, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _tell(folder: Path, name: str) -> None:
    """One look of a fresh process; its imports count."""
    from pipeline_tasks.steps.collect import collect

    run = _run(folder, name)
    began = time.process_time()
    facts = collect(run).summary
    seconds = time.process_time() - began
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's, too
    told = {"cpu_seconds": round(seconds, 3), "rows": facts["predictions"]}
    told |= {"peak_mib": int(status.split("VmHWM:")[1].split()[0]) // 1024}
    print(json.dumps(told | {"labelled": facts["labelled"], "pandas": "pandas" in sys.modules}))


if __name__ == "__main__":
    main()
