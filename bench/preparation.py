"""From a CSV file to arrays that can be trained on: CPU and memory of ingest, check and prepare.

20 columns: 14 numbers, one value in twenty missing, 5 categories and the label; one row in fifty is
a duplicate. Each size runs in a process of its own, in turn with the peer, preparation_bare.py.
Usage: python -m bench.preparation [ROWS ...], 10000 1000000 5000000 unless given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from bench.measure import PROJECT, environment, show

SIZES = (10_000, 1_000_000, 5_000_000)
ROWS_AT_ONCE = 250_000
NUMBERS = [f"number_{index}" for index in range(14)]
CATEGORIES = [f"category_{index}" for index in range(5)]
RUN = """
import sys
from pathlib import Path
from pipeline_tasks import config, loop
from pipeline_tasks.core.store import Store
from pipeline_tasks.run import Run
run = Run(config=config.load(Path(sys.argv[1])), id="run", store=Store(Path(sys.argv[2])))
for name, ref in loop.run_steps(run, until="prepare"):
    print(name, ref.summary)
"""
# Runs a script as if it were all there is, and tells what the process has used at its end.
TELL = """
import json, resource, sys
script, sys.argv = sys.argv[1], sys.argv[1:]
exec(compile(Path(script).read_text(), script, "exec"), {"__name__": "__main__"})
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "gib": used.ru_maxrss / 2**20}))
"""


def main() -> None:
    """Measure every size, ours and the peer's."""
    sizes = [int(text) for text in sys.argv[1:]] or list(SIZES)
    say = Console(stderr=True).print
    found: dict[str, object] = {"bench": "preparation", "columns": 20}
    table = {}
    measured = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="preparation-") as name:
            ours, peer = _measure(Path(name), size)
        measured[size] = ours
        ratio = round(ours["cpu"] / peer["cpu"], 2)
        say(f"{size:,} rows: ours {ours}, peer {peer}")
        found[f"rows_{size}"] = {"ours": ours, "peer": peer, "cpu_ratio": ratio}
        aim = "2 x at most, 3 GiB at most" if size >= 1_000_000 else ""
        table[f"{size:,} rows"] = (f"{ours['cpu']} CPU s, {ours['gib']} GiB, {ratio} x", aim)
        table[f"{size:,} rows, pandas alone"] = (f"{peer['cpu']} CPU s, {peer['gib']} GiB", "")
    if len(sizes) > 2:
        growth = _growth(measured)
        found["growth"] = growth
        table["a row more, in the last step over the first"] = (f"{growth} x", "1 x")
    show("Preparation", table, found)


def _growth(measured: dict[int, dict[str, float]]) -> float:
    """What a row more costs between the two largest sizes, over what it costs below; 1: linear."""
    small, middle, large = sorted(measured)[-3:]
    below = (measured[middle]["cpu"] - measured[small]["cpu"]) / (middle - small)
    return round((measured[large]["cpu"] - measured[middle]["cpu"]) / (large - middle) / below, 2)


def _measure(folder: Path, size: int) -> tuple[dict[str, float], dict[str, float]]:
    path = folder / "rows.csv"
    _write_csv(path, size)
    (folder / "bare").mkdir()
    bare = str(PROJECT / "bench" / "preparation_bare.py")
    peer = _process(folder, bare, str(path), str(folder / "bare"))
    pipeline, script = folder / "rows.yaml", folder / "run.py"
    pipeline.write_text(yaml.safe_dump(_pipeline(path)))
    script.write_text(RUN)
    return _process(folder, str(script), str(pipeline), str(folder / "store")), peer


def _process(folder: Path, *command: str) -> dict[str, float]:
    code = "from pathlib import Path\n" + TELL
    done = subprocess.run(
        [sys.executable, "-c", code, *command], env=environment(PYTHONPATH=str(PROJECT)),
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    used = json.loads(done.stdout.splitlines()[-1])
    return {"cpu": round(used["cpu"], 2), "gib": round(used["gib"], 2)}


def _pipeline(path: Path) -> dict[str, object]:
    numbers = {
        name: {"type": "number", "min": -100, "max": 100, "nullable": True} for name in NUMBERS
    }
    categories = {name: {"type": "category"} for name in CATEGORIES}
    return {
        "source": {"kind": "csv", "path": str(path)},
        "columns": numbers | categories,
        "label": {"name": "label", "classes": [0, 1]},
        "model": {"kind": "mlp"},
    }


def _write_csv(path: Path, size: int) -> None:
    """The same rows for a size, a slice at a time; the last of each fifty is a repetition."""
    import pyarrow as pa
    import pyarrow.csv

    random = np.random.default_rng(size)
    writer = None
    for start in range(0, size, ROWS_AT_ONCE):
        rows = min(ROWS_AT_ONCE, size - start)
        place = np.arange(rows)
        place[49::50] = place[48::50][: len(place[49::50])]
        columns = {}
        for name in NUMBERS:
            values = random.normal(size=rows).round(4)
            columns[name] = pa.array(values, mask=random.random(rows) < 0.05).take(place)
        for number, name in enumerate(CATEGORIES):
            texts = np.array([f"{name}_{index}" for index in range(4 * 3**number)])
            columns[name] = pa.array(texts[random.integers(0, len(texts), rows)]).take(place)
        columns["label"] = pa.array(random.integers(0, 2, rows)).take(place)
        table = pa.table(columns)
        if writer is None:
            options = pyarrow.csv.WriteOptions(quoting_style="none")
            writer = pyarrow.csv.CSVWriter(path, table.schema, write_options=options)
        writer.write_table(table)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    main()
