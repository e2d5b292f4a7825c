"""When did the errors rise? An EWMA chart and ADWIN, on block after block of labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline_tasks.decisions import adwin, control_charts
from pipeline_tasks.decisions.adwin import Adwin
from pipeline_tasks.decisions.control_charts import Ewma, Watched

RUN_LENGTH = 200.0
LEAST_BLOCKS, MOST_BLOCKS = 8, 40


@dataclass(frozen=True)
class Errors:
    """The share of errors of block after block, and what watches it.

    known: shares since the last change. chart: None until there are LEAST_BLOCKS to draw it from.
    changed: after how many blocks the newest change began; None before the first. reason: why the
    newest block alarms; empty when it does not.
    """

    block_rows: int
    blocks: int = 0
    known: tuple[float, ...] = ()
    adwin: Adwin = field(default_factory=Adwin)
    chart: Ewma | None = None
    watched: Watched | None = None
    changed: int | None = None
    reason: str = ""


def look(errors: Errors, share: float) -> Errors:
    """Go on with the next block. It is independent of which model answered: the level counts.

    After an alarm everything is learned anew, so that one change has one alarm.
    """
    watched = adwin.watch(errors.adwin, [share])
    has_risen = len(watched.rises) > len(errors.adwin.rises)
    known = (*errors.known, share)[-MOST_BLOCKS:]
    new = replace(errors, blocks=errors.blocks + 1, known=known, adwin=watched, reason="")
    new = _charted(new, share)
    if has_risen:
        reason = f"ADWIN: errors have risen to {watched.mean:.3f}"
        new = replace(new, reason="; ".join(filter(None, (new.reason, reason))))
    if not new.reason:
        return new
    began = new.blocks - len(known) + rise(known)
    return replace(new, changed=began, known=(), adwin=Adwin(), chart=None, watched=None)


def rise(shares: Sequence[float]) -> int:
    """How many of these come before the rise: where two means fit them best, the later higher.

    >>> rise([0.1, 0.2, 0.1, 0.4, 0.5])
    3
    """
    total, before, best, found = sum(shares), 0.0, 0.0, len(shares) - 1
    for count, share in enumerate(shares[:-1], 1):
        before += share
        left, right = before / count, (total - before) / (len(shares) - count)
        gain = (right - left) ** 2 * count * (len(shares) - count)
        if right > left and gain > best:
            best, found = gain, count
    return found


def redrawn(errors: Errors) -> Errors:
    """With a chart of the newest blocks, because another model answers from now on."""
    if len(errors.known) < LEAST_BLOCKS:
        return errors
    chart = _chart(errors)
    return replace(errors, chart=chart, watched=errors.watched or Watched(chart.mean))


def _charted(errors: Errors, share: float) -> Errors:
    if errors.chart is None or errors.watched is None:
        return redrawn(errors)
    watched = control_charts.watch(errors.chart, [share], errors.watched)
    if len(watched.alarms) == len(errors.watched.alarms):
        return replace(errors, watched=watched)
    rose = f"chart: errors {share:.3f}, the average exceeds {errors.chart.threshold:.3f}"
    return replace(errors, reason=rose)


def _chart(errors: Errors) -> Ewma:
    return control_charts.chart_of_rate(
        errors.known, block_rows=errors.block_rows, run_length=RUN_LENGTH
    )
