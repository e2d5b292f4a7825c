"""Control charts of what labels show: learned from held-out rows, continued from look to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.decisions import adwin, control_charts
from pipeline_tasks.decisions.adwin import Adwin
from pipeline_tasks.decisions.alarm import Charted
from pipeline_tasks.decisions.control_charts import Ewma, Watched

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_ROWS = 100
# Rows whose mean is one point of a chart, and how many points a short reference is to have.
MOST_IN_A_BLOCK, BLOCKS = 50, 20
# Blocks until a false alarm, on average; fewer blocks than this hardly tell how bursts spread.
RUN_LENGTH, TELLING = 1000, 50
QUANTILE = 0.99
# Looks whose failed requests are watched, after as many to learn from; the share that matters.
LATEST_LOOKS, LEAST_FAILURES = 10, 0.01


class Charts(Frozen):
    """charts.json: what the charts of a model's errors keep to.

    measure: what is charted, in words. scale: the absolute error that counts as 1, and so does a
    larger one; None where each row is right or wrong. block_rows: rows in a block. adwin: has seen
    the held-out rows, so that it notices what has changed since.
    """

    measure: str
    scale: float | None
    rows: int
    block_rows: int
    ewma: Ewma
    adwin: Adwin


class State(Frozen):
    """Where the charts are after a look. left: losses that fill no block yet.

    before_ms: the last moment before a block, by how many blocks there were, of those with which a
    change may have begun. newest_ms: the last two moments of rows so far. Both since 1970.
    """

    watched: Watched
    adwin: Adwin
    left: tuple[float, ...] = ()
    rows: int = 0
    before_ms: Mapping[int, int] = Field(default_factory=dict)
    newest_ms: tuple[int, ...] = (0,)


def learn(truth: NDArray[Any], answer: NDArray[Any]) -> Charts | None:
    """From held-out rows in the order of time; None where there are too few.

    truth: class indices or numbers (n,); answer: probabilities (n, classes) or values (n,).
    """
    if len(truth) < LEAST_ROWS:
        return None
    scale = None if answer.ndim > 1 else _scale(truth, answer)
    losses = _losses(truth, answer, scale)
    size = max(min(MOST_IN_A_BLOCK, len(losses) // BLOCKS), adwin.block_rows(losses))
    blocks = adwin.block_means(losses, size)
    if scale is None:
        chart = control_charts.chart_of_rate(blocks, block_rows=size, run_length=RUN_LENGTH)
    else:
        chart = control_charts.chart_of_mean(blocks, run_length=RUN_LENGTH)
    return Charts(
        measure="error rate" if scale is None else "mean absolute error",
        scale=scale,
        rows=len(losses),
        block_rows=size,
        ewma=chart,
        adwin=adwin.watch(Adwin(), blocks),
    )


def go_on(
    charts: Charts,
    state: State | None,
    truth: NDArray[Any],
    answer: NDArray[Any],
    times_ms: NDArray[Any],
) -> State:
    """Where the charts are after these rows, in the order of time."""
    at = state or State(watched=Watched(average=charts.ewma.mean), adwin=charts.adwin)
    losses = [*at.left, *_losses(truth, answer, charts.scale)]
    blocks = adwin.block_means(losses, charts.block_rows)
    watched = control_charts.watch(charts.ewma, blocks, at.watched, restarts=False)
    cut = adwin.watch(at.adwin, blocks)
    middles, newest = _middles(charts, at, times_ms)
    begins = {_produced(charts, block) for block in (cut.parted, *cut.starts)}
    begins |= {watched.since, watched.blocks}
    return State(
        watched=watched,
        adwin=cut,
        left=tuple(losses[len(blocks) * charts.block_rows :]),
        rows=at.rows + len(truth),
        before_ms={
            block: moment
            for block, moment in [*at.before_ms.items(), *middles.items()]
            if block in begins
        },
        newest_ms=newest,
    )


def judge(charts: Charts, state: State, quality_drop: float) -> tuple[Charted, Charted]:
    """What each chart says; an alarm lasts as long as the level does.

    quality_drop: the least rise that matters, as a share of all rows, or of a mean.
    """
    expected = charts.ewma.mean
    floor = quality_drop * (1 if charts.scale is None else expected)
    average, limit = state.watched.average, max(charts.ewma.threshold, expected + floor)
    recent, has_risen = state.adwin.mean, any(at > charts.adwin.seen for at in state.adwin.rises)
    has_risen &= recent >= expected + floor
    since = sum(bucket.rows for bucket in state.adwin.buckets) * charts.block_rows
    by_chance = _by_chance(charts.ewma, charts.rows // charts.block_rows, charts.block_rows, "rows")
    change = "has risen" if has_risen else "has not risen"
    return (
        Charted(
            name="EWMA",
            cause="quality",
            is_alarm=average > limit,
            changed_at=_moment(state, state.watched.since) if average > limit else "",
            reason=f"{charts.measure} {_said(charts, average)} on an EWMA chart of "
            f"{state.rows:,} labelled rows, {_said(charts, expected)} expected (alarms above "
            f"{_said(charts, limit)}, {by_chance})",
        ),
        Charted(
            name="ADWIN",
            cause="quality",
            is_alarm=has_risen,
            changed_at=_moment(state, _produced(charts, state.adwin.parted)) if has_risen else "",
            reason=f"{charts.measure} {change} by ADWIN: {_said(charts, recent)} in the last "
            f"{since:,} rows, {_said(charts, expected)} expected (alarms when part of them is "
            f"proven another and {_said(charts, expected + floor)} is reached, by chance at "
            f"{state.adwin.delta:.1%} of moments at most)",
        ),
    )


def judge_failures(shares: Sequence[float], requests: float) -> Charted | None:
    """What an EWMA chart says of failed requests; None before there are looks to learn it from.

    shares: of requests that failed, by look, this one last. requests: in a look, about.
    """
    known, latest = shares[:-LATEST_LOOKS], shares[-LATEST_LOOKS:]
    if len(known) < LATEST_LOOKS:
        return None
    chart = control_charts.chart_of_rate(
        known, block_rows=max(1, round(requests)), run_length=RUN_LENGTH
    )
    limit = max(chart.threshold, chart.mean + LEAST_FAILURES)
    average = control_charts.watch(chart, latest, restarts=False).average
    return Charted(
        name="EWMA of failed requests",
        cause="service",
        is_alarm=average > limit,
        reason=f"{shares[-1]:.1%} of the requests failed, {average:.1%} on an EWMA chart, "
        f"{chart.mean:.1%} expected (alarms above {limit:.1%}, "
        f"{_by_chance(chart, len(known), 1, 'looks')})",
    )


def _by_chance(chart: Ewma, blocks: int, block_rows: int, unit: str) -> str:
    """How often a chart of so many blocks is wrong, as far as they tell."""
    often = f"by chance once in {RUN_LENGTH * block_rows:,} {unit}"
    if blocks >= TELLING or not chart.sd_error:
        return f"{often} at most"
    return f"{often} if the {blocks * block_rows:,} it is drawn from tell how they spread"


def _middles(
    charts: Charts, at: State, times_ms: NDArray[Any]
) -> tuple[dict[int, int], tuple[int, ...]]:
    """The last moment before each block's middle one of these rows; and the last two of all.

    Rows of one moment are of one request: a change that begins among them began before it.
    """
    import numpy as np

    newest = np.maximum(times_ms, at.newest_ms[-1])
    known = np.unique([*at.newest_ms, *newest.tolist()])
    left, size = len(at.left), charts.block_rows
    middle = np.arange((size // 2 - left) % size, len(newest), size)
    blocks = at.watched.blocks + (left + middle) // size
    before = known[np.searchsorted(known, newest[middle]) - 1]
    return dict(zip(blocks.tolist(), before.tolist(), strict=True)), tuple(known[-2:].tolist())


def _produced(charts: Charts, seen: int) -> int:
    """How many of so many blocks are production's."""
    return max(seen - charts.adwin.seen, 0)


def _moment(state: State, block: int) -> str:
    """The last one before this block; the first block has none before it."""
    return clock.text(datetime.fromtimestamp(state.before_ms.get(block, 0) / 1000, UTC))


def _said(charts: Charts, level: float) -> str:
    return f"{level:.1%}" if charts.scale is None else f"{level * charts.scale:.4g}"


def _scale(truth: NDArray[Any], answer: NDArray[Any]) -> float:
    """Twice what nearly all held-out errors are below: a single wild one must not be the chart."""
    import numpy as np

    return 2 * float(np.quantile(abs(answer - truth), QUANTILE)) or 1.0


def _losses(truth: NDArray[Any], answer: NDArray[Any], scale: float | None) -> Sequence[float]:
    """From 0 to 1, by row; an answer that is no number is wrong."""
    import numpy as np

    if scale is None:
        known = np.isfinite(answer).all(axis=1)
        wrong: list[float] = ((answer.argmax(axis=1) != truth) | ~known).astype(float).tolist()
        return wrong
    errors = np.nan_to_num(abs(answer - truth) / scale, nan=1.0)
    losses: list[float] = np.clip(errors, 0, 1).tolist()
    return losses
