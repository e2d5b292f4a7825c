"""Drift: significant beside blocks of the reference itself, and large enough to matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.summaries import cells, distance
from pipeline_tasks.summaries.calibration import (
    UNIT,
    Calibration,
    Counted,
    Law,
    calibrate,
    span,
    surprise,
    unit_rows,
)
from pipeline_tasks.summaries.cells import Aspect, Cells, Placed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

LEAST, CALIBRATED = 100, 200_000


class Params(Frozen):
    """When a difference counts: it must be both significant and large enough to matter.

    monitoring:
      detector: {kind: block_bootstrap, false_alarms: 0.01, numbers: 0.1, categories: 0.05}
    """

    false_alarms: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Share of undrifted windows that may alarm, all features together.",
    )
    numbers: float = Field(
        0.1,
        gt=0,
        description="Least drift of numbers: the mean distance moved, in interquartile ranges, "
        "or the largest difference of the shares below any value.",
    )
    categories: float = Field(
        0.05, gt=0, lt=1, description="Least share of rows that changed their category or words."
    )
    new_values: float = Field(
        0.01, gt=0, lt=1, description="Least change of the share of new values."
    )
    missing: float = Field(0.01, gt=0, lt=1, description="Least change of the share missing.")
    minimum_rows: int = Field(100, ge=UNIT, description="Rows below which nothing is said.")


class Summary(Frozen):
    """A reference: its cells by column, its counts, and how far its own windows are from it."""

    rows: int
    cells: dict[str, Cells]
    counts: dict[str, tuple[int, ...]]
    calibration: Calibration


class Window(Frozen):
    """Rows counted in a reference's cells. Windows add up, and any two can be compared.

    A column that some rows do not have is not counted.
    """

    rows: int
    counts: dict[str, tuple[int, ...]]

    def __add__(self, other: Window) -> Window:
        """Both windows' rows."""
        shared = self.counts.keys() & other.counts.keys()
        pairs = {name: (self.counts[name], other.counts[name]) for name in sorted(shared)}
        counts = {
            name: tuple(a + b for a, b in zip(*pair, strict=True)) for name, pair in pairs.items()
        }
        return Window(rows=self.rows + other.rows, counts=counts)


class Finding(Frozen):
    """One aspect of one feature, in a window against the reference.

    statistic: how unlikely this is by chance, as the negative natural logarithm; threshold: what
    it exceeds in any aspect in as many undrifted windows as may alarm. effect, floor: how large the
    difference is and must be; unit: the effect in words. effective_rows: how many independent rows
    the window's are worth. bins: what is counted, and how much of it there is in the reference and
    in the window.
    """

    feature: str
    aspect: str
    rows: int
    effective_rows: float
    statistic: float
    threshold: float
    effect: float
    floor: float
    unit: str
    is_enough: bool
    bins: tuple[str, ...]
    reference_shares: tuple[float, ...]
    current_shares: tuple[float, ...]

    @property
    def is_drift(self) -> bool:
        """Significant, and large enough."""
        return self.is_enough and self.statistic > self.threshold and self.effect >= self.floor

    @property
    def strength(self) -> float:
        """How far both are beyond what alarms, the lesser of the two: above 1 it is drift."""
        return min(self.statistic / self.threshold, self.effect / self.floor)

    @property
    def name(self) -> str:
        """The feature, and what of it where it is not its values."""
        return self.feature if self.aspect == "values" else f"{self.feature} {self.aspect}"

    @property
    def reason(self) -> str:
        """Why it is drift, or why not, in plain words."""
        rows = f"{self.rows:,} rows, worth {self.effective_rows:,.0f} independent ones"
        if not self.is_enough:
            return f"{self.name}: not enough data ({rows})"
        beside = f"surprise {self.statistic:.1f}, alarms above {self.threshold:.1f}, {rows}"
        if self.statistic <= self.threshold:
            return f"{self.name}: changed by {self.unit}, as it may by chance ({beside})"
        if self.effect < self.floor:
            return f"{self.name}: changed by {self.unit}, too little to matter ({beside})"
        return f"{self.name}: drifted by {self.unit} ({beside})"


def summarise(params: Params, reference: Columns) -> Summary:
    """What is kept of a reference; its rows are in the order of time, and read once.

    reference: by column (m,) numbers, NaN where missing; str, "" where missing; or prose as
    objects. Raises ValueError when there are fewer than LEAST rows.
    """
    import numpy as np

    rows = len(next(iter(reference.values())))
    if rows < LEAST:
        raise ValueError(f"a reference needs {LEAST} rows to vary in, this one has {rows}")
    learned = {name: cells.learn(values) for name, values in reference.items()}
    unit = unit_rows(rows)
    last = min(rows, CALIBRATED) // unit * unit
    counts: dict[str, tuple[int, ...]] = {}
    counted: dict[str, Counted] = {}
    spans = []
    for name, one in learned.items():
        placed = one.place(reference[name], is_reference=True)
        counts[name] = _whole(np.bincount(placed.cells, minlength=one.size))
        by_unit = _by_unit(placed, rows - last, unit, (last // unit, one.size))
        spans.append(span(_scores(placed, rows, counts[name])))
        for aspect in one.aspects():
            taken = distance.taken(aspect, by_unit)
            counted[_key(name, aspect)] = Counted(taken, aspect.is_ordered)
    found = calibrate(counted, rows=last, alike=max(spans), false_alarms=params.false_alarms)
    return Summary(rows=rows, cells=learned, counts=counts, calibration=found)


def tally(summary: Summary, window: Columns) -> Window:
    """Count a window's rows in the reference's cells; the rows are not needed any more.

    Columns that the reference does not have, or has as another kind, are left out.
    """
    rows = len(next(iter(window.values())))
    counts = {
        name: _whole(one.count(window[name]))
        for name, one in summary.cells.items()
        if name in window and cells.fits(one, window[name])
    }
    return Window(rows=rows, counts=counts)


def compare(
    params: Params, summary: Summary, window: Window, earlier: Window | None = None
) -> tuple[Finding, ...]:
    """One finding for each aspect of each column of both: does the window come from the reference?

    earlier: another window to compare with, such as the same hours last week, in place of it.

    >>> import numpy as np
    >>> reference = {"x": np.arange(2000.0) % 97}
    >>> summary = summarise(Params(), reference)
    >>> for moved in (0, 40):
    ...     window = tally(summary, {"x": np.arange(500.0) % 97 + moved})
    ...     print([found.is_drift for found in compare(Params(), summary, window)])
    [False, False]
    [True, False]
    """
    other = earlier or Window(rows=summary.rows, counts=summary.counts)
    return tuple(_looks(params, summary, window, other))


def _looks(params: Params, summary: Summary, window: Window, other: Window) -> Iterator[Finding]:
    import numpy as np

    shared = window.counts.keys() & other.counts.keys()
    for name, one in ((name, one) for name, one in summary.cells.items() if name in shared):
        mine, theirs = (np.array(side.counts[name]) for side in (window, other))
        for aspect in one.aspects():
            counts = distance.taken(aspect, mine), distance.taken(aspect, theirs)
            law = summary.calibration.laws[_key(name, aspect)]
            deviance = float(distance.deviance(*counts, is_ordered=aspect.is_ordered))
            effect, unit = distance.effect(one, aspect, *counts)
            yield Finding(
                feature=name,
                aspect=aspect.name,
                rows=window.rows,
                effective_rows=window.rows / law.at(window.rows)[0],
                statistic=_surprise(law, deviance, window.rows, other.rows),
                threshold=summary.calibration.limit(min(window.rows, other.rows)),
                effect=effect,
                floor=_floor(params, aspect),
                unit=unit,
                is_enough=min(window.rows, other.rows) >= params.minimum_rows,
                bins=_bins(one, aspect),
                reference_shares=_shares(counts[1]),
                current_shares=_shares(counts[0]),
            )


def _surprise(law: Law, deviance: float, rows: int, other_rows: int) -> float:
    """Both sides vary by chance: the smaller's law, stretched by what the larger one adds."""
    if not rows or not other_rows:
        return 0.0
    smaller, larger = sorted((rows, other_rows))
    alike, high, fold = law.at(smaller)
    stretched = 1 + law.at(larger)[0] / larger / (alike / smaller)
    return max(0.0, float(surprise(smaller * deviance / stretched, high, fold)))


def _by_unit(
    placed: Placed, skipped: int, unit: int, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Counts (units, cells) by unit of so many rows and by cell, without the skipped first rows."""
    import numpy as np

    kept = placed.rows >= skipped
    keys = (placed.rows[kept] - skipped) // unit * shape[1] + placed.cells[kept]
    counts = np.bincount(keys, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.float32)


def _scores(placed: Placed, rows: int, counts: Sequence[int]) -> NDArray[np.float64]:
    """A number for each row, in which likeness shows: the share of all that is in lower cells."""
    import numpy as np

    below = np.cumsum(counts) / sum(counts)
    return np.bincount(placed.rows, below[placed.cells], minlength=rows).astype(np.float64)


def _floor(params: Params, aspect: Aspect) -> float:
    if aspect.is_ordered:
        return params.numbers
    if aspect.name.startswith("new"):
        return params.new_values
    return params.missing if aspect.name == "missing" else params.categories


def _bins(one: Cells, aspect: Aspect) -> tuple[str, ...]:
    """What each of an aspect's cells has in it; of several the last, `others` or `new`."""
    names = one.names
    if aspect.is_ordered or len(aspect.cells) > 2:
        return tuple(names[cells[0]] for cells in aspect.cells)
    return names[aspect.cells[0][0]], "all others"


def _shares(counts: NDArray[np.float32]) -> tuple[float, ...]:
    total = max(float(counts.sum()), 1.0)
    return tuple((counts / total).round(6).astype(float).tolist())


def _key(name: str, aspect: Aspect) -> str:
    return f"{name}: {aspect.name}"


def _whole(counts: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(counts.tolist())
