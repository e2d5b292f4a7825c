"""What the policies did: a table, the same in JSON, and a chart."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks.core.store import write_text
from pipeline_tasks.replay.living import NO_CHANGE, POLICIES, Life

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

BEFORE_ROWS, AFTER_ROWS, BEHIND = 2500, 500, 0.02
PIECES, CERTAINTY_Z = 100, 1.96
DPI, POINTS = 110, 60
CAPTION = (
    "kappa: against the last label. recovered: rows after a change. lead: triggered's, in points. "
    "A proven training is several fits, which CPU s counts."
)

Lives = Sequence[Life]


def by_policy(lives: Lives) -> dict[str, list[Life]]:
    """The lives of each policy, one for each seed; policies in their usual order."""
    found = {name: [one for one in lives if one.policy == name] for name in POLICIES}
    return {name: of for name, of in found.items() if of}


def kappa_temporal(life: Life) -> float:
    """How much of what the last label gets wrong is right; 0 is as good, below 0 is worse.

    Bifet and others, "Pitfalls in benchmarking data stream classification", ECML PKDD 2013.
    """
    labels, first = life.stream.labels, life.stream.first_rows
    same = float((labels[first:] == labels[first - 1 : -1]).mean())
    return (life.accuracy - same) / (1 - same) if same < 1 else math.nan


def rows_to_recover(life: Life, level: Mapping[int, float]) -> list[float]:
    """After each known change: rows until the newest AFTER_ROWS are as right as wanted.

    level: by change, what is wanted (see `levels`). Infinite where that is not reached before the
    next change.
    """
    import numpy as np

    first, found = life.stream.first_rows, []
    for change, end in pairwise([*life.stream.changes, len(life.stream.labels)]):
        right = life.right[change - first : end - first]
        recent = np.convolve(right, np.ones(AFTER_ROWS) / AFTER_ROWS, mode="valid")
        reached = np.flatnonzero(recent >= level[change])
        found.append(float(reached[0] + AFTER_ROWS) if len(reached) else math.inf)
    return found


def levels(lives: Lives) -> dict[int, float]:
    """By change, two points less than the best policy's accuracy in the rows before it."""
    first = lives[0].stream.first_rows
    return {
        change: max(
            float(life.right[max(0, change - first - BEFORE_ROWS) : change - first].mean())
            for life in lives
        )
        - BEHIND
        for change in lives[0].stream.changes
    }


def lead(lives: Lives, others: Lives) -> tuple[float, float, float]:
    """How much more accurate some lives are than others on the same rows, with a 95 % interval.

    The interval is from the differences in 100 pieces of each stream, which are long enough to be
    nearly independent.
    """
    pieces = [
        float(piece.mean())
        for mine, theirs in zip(lives, others, strict=True)
        for piece in _pieces(mine.right.astype(float) - theirs.right, PIECES)
    ]
    middle = statistics.mean(pieces)
    reach = CERTAINTY_Z * statistics.stdev(pieces) / math.sqrt(len(pieces))
    return middle, middle - reach, middle + reach


def as_json(lives: Lives) -> dict[str, object]:
    """Everything the table has, and each seed's own figures and trainings."""
    found = by_policy(lives)
    stream = lives[0].stream
    known = {one.stream.seed: levels(_of_seed(lives, one.stream.seed)) for one in lives}
    return {
        "stream": stream.name,
        "rows": len(stream.labels),
        "block_rows": stream.block_rows,
        "first_rows": stream.first_rows,
        "changes": list(stream.changes),
        "policies": {
            name: {
                "accuracy": round(statistics.mean(one.accuracy for one in of), 5),
                "kappa_temporal": _rounded(statistics.mean(map(kappa_temporal, of)), 4),
                "trainings": round(statistics.mean(len(one.events) for one in of), 1),
                "promoted": round(statistics.mean(map(_promoted, of)), 1),
                "cpu_seconds": round(statistics.mean(one.cpu_seconds for one in of), 2),
                "rows_to_recover": _rounded(_recovery(of, known), 0),
                "triggered_leads_by": _leads(found, name),
                "seeds": [_life(one) for one in of],
            }
            for name, of in found.items()
        },
    }


def table(result: Mapping[str, object]) -> Table:
    """The result of `as_json` for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows, days = result["rows"], result["block_rows"]
    title = f"{result['stream']}: {rows:,} rows, {days} a day"
    shown = Table(title=title, caption=CAPTION, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    shown.add_column("policy", no_wrap=True)
    for name in (
        "accuracy", "kappa", "trained", "promoted", "CPU s", "recovered", "lead",
    ):  # fmt: skip
        shown.add_column(name, justify="right")
    policies = result["policies"]
    assert isinstance(policies, dict)
    for name, one in policies.items():
        recovery = one["rows_to_recover"]
        shown.add_row(
            name,
            f"{one['accuracy']:.4f}",
            "" if one["kappa_temporal"] is None else f"{one['kappa_temporal']:.3f}",
            f"{one['trainings']:g}",
            f"{one['promoted']:g}",
            f"{one['cpu_seconds']:.1f}",
            "" if recovery is None else f"{recovery:,.0f}",
            _lead_text(one["triggered_leads_by"]),
        )
    return shown


def write(lives: Lives, folder: Path) -> dict[str, object]:
    """Keep <stream>.json and <stream>.png in the folder; the first seed's lives are drawn."""
    result = as_json(lives)
    folder.mkdir(parents=True, exist_ok=True)
    name = lives[0].stream.name
    write_text(folder / f"{name}.json", json.dumps(result, indent=1, allow_nan=False))
    draw(_of_seed(lives, lives[0].stream.seed), folder / f"{name}.png")
    return result


def draw(lives: Lives, path: Path) -> None:
    """Accuracy over time of each policy; below, its trainings, filled where one was promoted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    stream, shown = lives[0].stream, [life for life in lives if life.events]
    for life in lives:
        rows, accuracy = _over_time(life)
        style = ":" if life.policy in (NO_CHANGE, "never") else "-"
        width = 2.2 if life.policy == "triggered" else 1.0
        line = above.plot(rows, accuracy, style, linewidth=width, label=_label(life))[0]
        if life in shown:
            height, colour = shown.index(life), line.get_color()
            kept = [one.row for one in life.events if one.promoted is not None]
            refused = [one.row for one in life.events if one.promoted is None]
            below.plot(kept, [height] * len(kept), "|", color=colour)
            below.plot(refused, [height] * len(refused), "x", markersize=4, color=colour)
    for change in stream.changes:
        above.axvline(change, color="grey", linestyle="--", linewidth=0.8)
        below.axvline(change, color="grey", linestyle="--", linewidth=0.8)
    above.set(title=f"{stream.name}: accuracy before the labels came", ylabel="accuracy")
    above.legend(fontsize="small", loc="lower left", ncols=2)
    below.set(
        xlabel="row", yticks=range(len(shown)), yticklabels=[one.policy for one in shown],
        title="trainings: | promoted, x not", ylim=(-0.6, len(shown) - 0.4),
    )  # fmt: skip
    figure.savefig(path, dpi=DPI)


def _over_time(life: Life) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    pieces = _pieces(life.right.astype(float), POINTS)
    sizes = np.array([len(piece) for piece in pieces])
    middles = life.stream.first_rows + np.cumsum(sizes) - sizes / 2
    return middles, np.array([piece.mean() for piece in pieces])


def _pieces(values: NDArray[np.float64], most: int) -> list[NDArray[np.float64]]:
    import numpy as np

    return np.array_split(values, max(2, min(most, len(values) // 10)))


def _label(life: Life) -> str:
    return f"{life.policy} {life.accuracy:.4f}, {len(life.events)} trainings"


def _of_seed(lives: Lives, seed: int | None) -> list[Life]:
    return [life for life in lives if life.stream.seed == seed]


def _promoted(life: Life) -> int:
    return sum(event.promoted is not None for event in life.events)


def _recovery(lives: Lives, known: Mapping[int | None, Mapping[int, float]]) -> float:
    found = [rows for life in lives for rows in rows_to_recover(life, known[life.stream.seed])]
    return statistics.median(found) if found else math.nan


def _leads(found: Mapping[str, Lives], name: str) -> list[float] | None:
    if name == "triggered" or "triggered" not in found:
        return None
    return [round(100 * one, 2) for one in lead(found["triggered"], found[name])]


def _lead_text(points: Sequence[float] | None) -> str:
    return "" if points is None else f"{points[0]:+.2f} ± {points[2] - points[0]:.2f}"


def _life(life: Life) -> dict[str, object]:
    return {
        "seed": life.stream.seed,
        "accuracy": round(life.accuracy, 5),
        "trainings": [
            {"row": one.row, "reason": one.reason, "promoted": one.promoted} for one in life.events
        ],
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
