"""How often an alarm is wrong, and how soon it is right, beside the alarms that are usual.

Drift: a reference of 10,000 rows of 20 features, then windows of it, with nothing changed or with 3
features moved. Errors: a reference of 5,000 labelled rows with 10 % wrong, then a steady stream, or
one with 20 % wrong; errors are independent or come in bursts, each repeated 60 % of the time. Every
interval is a 95 % one. Settings were chosen on other seeds.
Usage: python -m bench.alarms [--quick]
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.streams import FEATURES, STREAMS, Matrix, errors
from bench.usual_alarms import USUAL, Usual, drops, usual
from pipeline_tasks.decisions import adwin, control_charts
from pipeline_tasks.decisions.adwin import Adwin
from pipeline_tasks.decisions.drift import drift
from pipeline_tasks.detectors import block_bootstrap as detector

SEED = 1000
REFERENCE, SIZES = 10_000, (100, 300, 1000, 10_000)
SHIFTS, MOVED = (0.2, 0.5), 3
PARAMS = detector.Params()
LABELLED, BLOCK, RUN_LENGTH = 5000, 50, 1000
STEADY, CHANGED = 20_000, 10_000
# Streams for the chart, which states its rate, for each of the others.
CHARTED = 20
Findings = Sequence[detector.Finding]


def main() -> None:
    """Measure everything; 6 CPU minutes; --quick is a sketch."""
    is_quick = "--quick" in sys.argv
    references, streams, sizes = (2, 3, SIZES[:3:2]) if is_quick else (40, 100, SIZES)
    say = Console(stderr=True).print
    found: dict[str, object] = {"bench": "alarms"}
    false = Table("no drift", "rows", "ours", *USUAL, "ours, one window", title="False alarms")
    seen = Table(
        "moved", "stream", "rows", "ours: seen, in windows", "in rows", *USUAL, title="Drift seen"
    )
    for number, name in enumerate(STREAMS):
        say(f"{name} ...")
        for size, cell in _drift(number, name, references, sizes).items():
            found[f"{name}, {size} rows"] = cell.as_json()
            false.add_row(name, f"{size:,}", *cell.false_row())
            for shift in SHIFTS:
                seen.add_row(f"{shift} sd", name, f"{size:,}", *cell.seen_row(shift, size))
    chart = Table(
        "errors", "by", "false alarms in 100,000 rows", "rows until a drop of 10 points is seen",
        title=f"Errors; the chart states {100_000 / RUN_LENGTH / BLOCK:g} in 100,000 rows at most",
    )  # fmt: skip
    for repeated in (0.0, 0.6):
        name = "bursts" if repeated else "independent"
        say(f"errors, {name} ...")
        for by, result in _errors(repeated, streams).items():
            found[f"errors, {name}, {by}"] = result
            chart.add_row(name, by, *_error_row(result))
    for table in (false, seen, chart):
        Console(width=150).print(table)
    print(json.dumps(found))


class Cell:
    """What windows of one size did on one stream."""

    def __init__(self) -> None:
        self.false: dict[str, list[list[bool]]] = defaultdict(list)
        self.seen: dict[float, dict[str, list[float]]] = {
            shift: defaultdict(list) for shift in SHIFTS
        }

    def rate(self, alarm: str) -> tuple[float, float, float, int]:
        """Percent of windows, its interval, and how many windows."""
        groups = self.false[alarm]
        windows = sum(map(len, groups))
        share = sum(map(sum, groups)) / windows
        return (100 * share, *_interval(share, windows, groups), windows)

    def false_row(self) -> list[str]:
        texts = []
        for alarm in ("ours", *USUAL, "ours, one window"):
            percent, low, high, windows = self.rate(alarm)
            texts.append(f"{percent:.1f} % ({low:.1f} to {high:.1f} of {windows:,})")
        return texts

    def seen_row(self, shift: float, size: int) -> list[str]:
        delays = self.seen[shift]["ours"]
        share = sum(map(math.isfinite, delays)) / len(delays)
        middle = statistics.median(delays)
        low, high = _interval(share, len(delays), [])
        rows = f"{middle * size:,.0f}" if math.isfinite(middle) else "not in half of them"
        usual_ones = [100 * statistics.mean(self.seen[shift][alarm]) for alarm in USUAL]
        return [
            f"{100 * share:.0f} % ({low:.0f} to {high:.0f}), in {_windows(size)[1]}",
            rows,
            *(f"{one:.0f} %" for one in usual_ones),
        ]

    def as_json(self) -> dict[str, object]:
        rates = {alarm: [round(one, 2) for one in self.rate(alarm)] for alarm in self.false}
        seen = {
            f"{shift} sd": {
                "seen": round(statistics.mean(map(math.isfinite, by["ours"])), 3),
                "median_windows": _known(statistics.median(by["ours"])),
                "trials": len(by["ours"]),
                "usual": {alarm: round(statistics.mean(by[alarm]), 3) for alarm in USUAL},
            }
            for shift, by in self.seen.items()
        }
        return {"false_alarms_percent_low_high_windows": rates, "seen": seen}


def _drift(number: int, name: str, references: int, sizes: Sequence[int]) -> dict[int, Cell]:
    """One stream for each reference: its rows, then the windows of each size, one after another."""
    cells = {size: Cell() for size in sizes}
    rows = REFERENCE + sum(sum(_windows(size)) * size for size in sizes)
    for trial in range(references):
        stream = STREAMS[name](np.random.default_rng([SEED, number, trial]), rows)
        reference = Reference(stream[:, :REFERENCE])
        at = REFERENCE
        for size, cell in cells.items():
            end = at + sum(_windows(size)) * size
            windows = [stream[:, start : start + size] for start in range(at, end, size)]
            at = end
            _watch_steady(cell, reference, windows[: _windows(size)[0]])
            for shift in SHIFTS:
                _watch_moved(cell, reference, windows, shift)
    return cells


class Reference:
    """What each way of watching keeps of the reference's rows, (features, rows)."""

    def __init__(self, rows: Matrix) -> None:
        self.summary = detector.summarise(PARAMS, _columns(rows))
        self.usual = [Usual(values) for values in rows]

    def look(self, window: Matrix) -> Findings:
        counted = detector.tally(self.summary, _columns(window))
        return detector.compare(PARAMS, self.summary, counted)


def _windows(size: int) -> tuple[int, int]:
    """How many are steady, and in how many the change is looked for."""
    return (5, 3) if size >= 10_000 else (12, 6)


def _watch_steady(cell: Cell, reference: Reference, windows: Sequence[Matrix]) -> None:
    looks = [reference.look(window) for window in windows]
    cell.false["ours, one window"].append([any(f.is_drift for f in look) for look in looks])
    cell.false["ours"].append([drift(looks[: end + 1])[0].is_yes for end in range(2, len(looks))])
    others = [usual(reference.usual, window) for window in windows[:3]]
    for alarm in USUAL:
        cell.false[alarm].append([other[alarm] for other in others])


def _watch_moved(cell: Cell, reference: Reference, windows: Sequence[Matrix], shift: float) -> None:
    steady = _windows(windows[0].shape[1])[0]
    looks: list[Findings] = [reference.look(window) for window in windows[steady - 2 : steady]]
    changes = [_moved(window, shift) for window in windows[steady:]]
    delay = math.inf
    for passed, window in enumerate(changes, 1):
        looks.append(reference.look(window))
        if drift(looks)[0].is_yes:
            delay = passed
            break
    cell.seen[shift]["ours"].append(delay)
    for alarm, is_raised in usual(reference.usual, changes[0]).items():
        cell.seen[shift][alarm].append(is_raised)


def _columns(values: Matrix) -> dict[str, Matrix]:
    return {f"feature_{index}": values[index] for index in range(FEATURES)}


def _moved(window: Matrix, shift: float) -> Matrix:
    changed = window.copy()
    changed[:MOVED] += shift
    return changed


def _errors(repeated: float, streams: int) -> dict[str, dict[str, object]]:
    alarms: dict[str, list[int]] = defaultdict(list)
    delays: dict[str, list[float]] = defaultdict(list)
    for trial in range(streams * CHARTED):
        ways = WAYS if trial < streams else WAYS[:1]
        random = np.random.default_rng([SEED, trial, int(repeated * 10)])
        reference = errors(random, LABELLED, 0.1, repeated)
        steady = errors(random, STEADY, 0.1, repeated)
        before = errors(random, CHANGED, 0.1, repeated)
        stream = np.concatenate([before, errors(random, CHANGED, 0.2, repeated)])
        for by, alarmed in ways:
            alarms[by].append(len(alarmed(reference, steady)))
            later = [row - CHANGED for row in alarmed(reference, stream) if row > CHANGED]
            delays[by].append(later[0] if later else math.inf)
    return {by: _of_errors(alarms[by], delays[by]) for by in delays}


def _by_chart(reference: Matrix, stream: Matrix) -> list[int]:
    """After which rows of the stream it alarms; so do the others."""
    blocks = adwin.block_means(reference.tolist(), BLOCK)
    chart = control_charts.chart_of_rate(blocks, block_rows=BLOCK, run_length=RUN_LENGTH)
    watched = control_charts.watch(chart, adwin.block_means(stream.tolist(), BLOCK))
    return [at * BLOCK for at in watched.alarms]


def _by_adwin(reference: Matrix, stream: Matrix) -> list[int]:
    rows = adwin.block_rows(reference.tolist())
    means = adwin.block_means(stream.tolist(), rows)
    return [at * rows for at in adwin.watch(Adwin(), means, every=max(1, 32 // rows)).rises]


def _by_drops(reference: Matrix, stream: Matrix) -> list[int]:
    return drops(stream, float(reference.mean()), 200)


WAYS = (
    ("EWMA chart", _by_chart),
    ("ADWIN 0.002", _by_adwin),
    ("p < 0.05 of 200 rows", _by_drops),
)


def _of_errors(alarms: list[int], delays: list[float]) -> dict[str, object]:
    rows = STEADY * len(alarms)
    total, per = sum(alarms), 100_000 / rows
    # Poisson's interval by its square root (Anscombe); exact enough from a few alarms on. A
    # reference that tells too low a threshold has many alarms, which count for less.
    clustered = max(1.0, statistics.variance(alarms) / statistics.mean(alarms)) if total else 1.0
    known = total / clustered
    low, high = ((max(math.sqrt(known + 3 / 8) + z, 0.0)) ** 2 for z in (-0.98, 0.98))
    return {
        "false_alarms_in_100000": round(total * per, 2),
        "low": round(max(low - 3 / 8, 0) * clustered * per, 2),
        "high": round((high + 5 / 8) * clustered * per, 2),
        "rows": rows,
        "seen": round(statistics.mean(map(math.isfinite, delays)), 3),
        "median_delay_rows": _known(statistics.median(delays)),
        "trials": len(delays),
    }


def _error_row(result: dict[str, object]) -> list[str]:
    interval = f"({result['low']} to {result['high']}; {result['rows']:,} rows)"
    delay = f"{result['median_delay_rows']}; seen in {result['seen']:.0%} of {result['trials']}"
    return [f"{result['false_alarms_in_100000']} {interval}", delay]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(share: float, trials: int, groups: list[list[bool]]) -> tuple[float, float]:
    """Wilson's, in percent; windows of one reference, which resemble each other, count for less."""
    effective = trials / _design_effect(share, groups)
    z = 1.96
    middle = (share + z * z / 2 / effective) / (1 + z * z / effective)
    reach = math.sqrt(share * (1 - share) / effective + (z / 2 / effective) ** 2)
    reach *= z / (1 + z * z / effective)
    return 100 * max(middle - reach, 0.0), 100 * min(middle + reach, 1.0)


def _design_effect(share: float, groups: list[list[bool]]) -> float:
    if len(groups) < 2 or not 0 < share < 1:
        return 1.0
    means = [statistics.mean(group) for group in groups]
    expected = share * (1 - share) / statistics.mean(map(len, groups))
    return max(1.0, statistics.variance(means) / expected)


if __name__ == "__main__":
    main()
