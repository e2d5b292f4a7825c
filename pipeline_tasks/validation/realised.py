"""Quality as labels show it: the promotion metric with its interval, of all rows and by slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.decisions.alarm import Quality
from pipeline_tasks.metrics import taken
from pipeline_tasks.validation import intervals
from pipeline_tasks.validation.slices import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]


class Answered(NamedTuple):
    """Class indices or numbers (n,), and the answers: probabilities (n, classes) or values (n,)."""

    truth: NDArray[Any]
    answer: NDArray[Any]


class Measured(Frozen):
    """A metric of some rows with its 95 % interval; None where it is not defined on them."""

    value: float | None
    low: float | None
    high: float | None
    rows: int


class SliceMeasured(Measured):
    """The same of the rows whose column has this value."""

    column: str
    part: str


def quality(config: PipelineConfig, now: Answered, promoted: Answered) -> Quality | None:
    """The promotion metric on labelled rows, beside the rows the champion was judged on."""
    import numpy as np

    if not len(now.truth):
        return None
    metric = config.promotion.metric
    part = registry.part("metrics", metric)
    values = [part.compute(one.truth, taken(part.NEEDS, one.answer)) for one in (now, promoted)]
    ends = measured(config, now)
    return Quality(
        metric=metric,
        value=values[0],
        rows=len(now.truth),
        promoted_value=values[1],
        promoted_rows=len(promoted.truth),
        has_answers=bool(np.isfinite(now.answer).all()),
        is_error=not part.HIGHER_IS_BETTER,
        has_unit=getattr(part, "HAS_UNIT", False),
        spread=intervals.spread_of_difference(part, now, promoted),
        low=ends.low,
        high=ends.high,
    )


def measured(config: PipelineConfig, rows: Answered) -> Measured:
    """The promotion metric of some rows."""
    import numpy as np

    part = registry.part("metrics", config.promotion.metric)
    value = part.compute(rows.truth, taken(part.NEEDS, rows.answer))
    resamples = config.evaluation.bootstrap
    [found] = intervals.resampled(part, rows.truth, [rows.answer], resamples)
    low, high = intervals.interval(found) if np.isfinite(value) else (np.nan, np.nan)
    known = [float(one) if np.isfinite(one) else None for one in (value, low, high)]
    return Measured(value=known[0], low=known[1], high=known[2], rows=len(rows.truth))


def by_slice(
    config: PipelineConfig, columns: Columns, rows: Answered, cut_by: Columns
) -> list[SliceMeasured]:
    """Each slice of the columns that are there. cut_by: see slices.cut."""
    names = [
        name
        for name in config.evaluation.slices
        if name in columns
        and name in cut_by
        and columns[name].dtype.kind == cut_by[name].dtype.kind
    ]
    return [
        SliceMeasured(
            column=one.column,
            part=one.value,
            **measured(config, Answered(rows.truth[one.rows], rows.answer[one.rows])).model_dump(),
        )
        for one in cut(names, columns, cut_by)
    ]
