"""What looking for drift costs: a stored summary against a loop over scipy's tests on the raw rows.

A reference of 100,000 rows and windows of 10 thousand, 100 thousand and 1 million; 20 numbers, or
15 numbers and 5 categories of 40 values. CPU seconds, imports aside, the least of some looks; each
way in a process of its own. Usage: python -m bench.drift_cost
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.measure import PROJECT, environment, show

REFERENCE, SIZES, LOOKS = 100_000, (10_000, 100_000, 1_000_000), 5
TABLES = {"20 numbers": (20, 0), "15 numbers, 5 categories": (15, 5)}
AIM = 20
Columns = dict[str, NDArray[np.generic]]


def main() -> None:
    """Measure every size, ours and scipy's loop."""
    if len(sys.argv) > 1:
        _tell(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        return
    say = Console(stderr=True).print
    table: dict[str, tuple[str, str]] = {}
    found: dict[str, object] = {"bench": "drift_cost"}
    for name in TABLES:
        for size in SIZES:
            ours, peer = (_process(way, name, size) for way in ("ours", "scipy"))
            ratio = peer["cpu_seconds"] / ours["cpu_seconds"]
            say(f"{name}, {size:,} rows: ours {ours}, scipy {peer}")
            found[f"{name}, {size} rows"] = {"ours": ours, "scipy": peer, "ratio": round(ratio, 1)}
            table[f"{name}, {size:,} rows"] = (
                f"{1000 * ours['cpu_seconds']:.1f} ms, scipy {1000 * peer['cpu_seconds']:.0f} ms: "
                f"1/{ratio:.0f}",
                f"1/{AIM} at most" if size == 100_000 else "",
            )
            assert not ours["imports_scipy"]
    show("Cost of a look for drift", table, found)


def _process(way: str, name: str, size: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.drift_cost", way, name, str(size)],
        env=environment(PYTHONPATH=str(PROJECT)), cwd=PROJECT, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _tell(way: str, name: str, size: int) -> None:
    reference, window = _columns(name, REFERENCE, 1), _columns(name, size, 2)
    look = _ours(reference) if way == "ours" else _scipy(reference)
    seconds = []
    for _ in range(LOOKS):
        began = time.process_time()
        look(window)
        seconds.append(time.process_time() - began)
    print(json.dumps({"cpu_seconds": min(seconds), "imports_scipy": "scipy" in sys.modules}))


def _columns(name: str, rows: int, seed: int) -> Columns:
    numbers, categories = TABLES[name]
    random = np.random.default_rng(seed)
    texts = np.array([f"value_{index}" for index in range(40)])
    columns: Columns = {
        f"number_{index}": random.normal(size=rows).astype(np.float32) for index in range(numbers)
    }
    return columns | {
        f"category_{index}": texts[random.integers(0, len(texts), rows)]
        for index in range(categories)
    }


def _ours(reference: Columns) -> Callable[[Columns], object]:
    """The summary is read from its JSON text at every look, as the step does."""
    from pipeline_tasks.detectors import block_bootstrap as detector

    params = detector.Params()
    kept = detector.summarise(params, reference).model_dump_json()

    def look(window: Columns) -> object:
        summary = detector.Summary.model_validate_json(kept)
        return detector.compare(params, summary, detector.tally(summary, window))

    return look


def _scipy(reference: Columns) -> Callable[[Columns], object]:
    import scipy.stats  # noqa: F401, its import is not part of the look

    return lambda window: [_p_value(old, window[name]) for name, old in reference.items()]


def _p_value(old: NDArray[np.generic], new: NDArray[np.generic]) -> float:
    from scipy import stats

    if old.dtype.kind != "U":
        return float(stats.ks_2samp(old, new).pvalue)
    names, codes = np.unique(np.concatenate([old, new]), return_inverse=True)
    sides = codes[: len(old)], codes[len(old) :]
    table = [np.bincount(side, minlength=len(names)) for side in sides]
    return float(stats.chi2_contingency(table).pvalue)


if __name__ == "__main__":
    main()
