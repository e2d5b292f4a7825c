"""Is production degraded, and by what?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.sections.production import Monitoring

CERTAINTY_Z = 2.326  # one-sided 1 %


@dataclass(frozen=True)
class Quality:
    """The promotion metric on labelled production rows, and when the champion was promoted.

    has_answers: the model answered with numbers; a metric that is still NaN is not defined on these
    rows, such as ROC AUC where all are of one class. is_error: lower is better. has_unit: it is in
    the label's own unit. spread: the standard error of the difference; None for a share of rows.
    low, high: the value's 95 % interval; None where it is not known.
    """

    metric: str
    value: float
    rows: int
    promoted_value: float
    promoted_rows: int
    has_answers: bool = True
    is_error: bool = False
    has_unit: bool = False
    spread: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_defined(self) -> bool:
        """Whether anything can be said; of answers that are no numbers it can."""
        values = (self.value, self.promoted_value) if self.has_answers else (self.promoted_value,)
        return not any(map(math.isnan, values))


@dataclass(frozen=True)
class Drift:
    """What decisions.drift says of the last windows, and what has drifted."""

    verdict: Verdict
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Charted:
    """What one control chart says; cause: what is wrong where it alarms.

    changed_at: the last moment before that, by estimate; empty where it does not alarm.
    """

    name: str
    cause: str
    is_alarm: bool
    reason: str
    changed_at: str = ""


@dataclass(frozen=True)
class Service:
    """How the server does; None where there is nothing to say."""

    is_answering: bool | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class Alarm:
    """The verdict (yes is degraded) and its causes: quality, drift, service."""

    verdict: Verdict
    causes: tuple[str, ...]


Judged = tuple[str, bool, str]


def alarm(
    rules: Monitoring,
    *,
    quality: Quality | None,
    drift: Drift,
    charts: Sequence[Charted] = (),
    service: Service = Service(),
    hints: Sequence[str] = (),
) -> Alarm:
    """Degraded when quality fell, inputs or answers drifted, or the service misses its limits.

    With fewer than the minimum of labelled rows, and too few predictions to look for drift, only
    the service is judged. hints: what is worth saying beside, and never a reason to act.
    """
    judged = [*_of_quality(rules, quality), *_of_drift(drift), *map(_of_chart, charts)]
    is_known = any(cause != "service" for cause, _, _ in judged)
    judged += _of_service(rules, service)
    causes = tuple(dict.fromkeys(cause for cause, is_bad, _ in judged if is_bad))
    if causes:
        bad = [reason for _, is_bad, reason in judged if is_bad]
        return Alarm(Verdict(answer=Answer.YES, reasons=(*bad, *hints)), causes)
    good = [reason for _, _, reason in judged]
    if is_known:
        reasons = (*good, *_undefined(quality), *hints)
        return Alarm(Verdict(answer=Answer.NO, reasons=reasons), ())
    few = [*drift.verdict.reasons, _few_labelled(rules, quality), *_undefined(quality), *hints]
    return Alarm(Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=tuple(few)), ())


def _few_labelled(rules: Monitoring, quality: Quality | None) -> str:
    labelled = quality.rows if quality else 0
    return f"{labelled} labelled rows since the last verdict, {rules.minimum_rows} needed"


def _of_quality(rules: Monitoring, quality: Quality | None) -> list[Judged]:
    if quality is None or quality.rows < rules.minimum_rows or not quality.is_defined:
        return []
    return [("quality", *_judge_quality(rules, quality))]


def _of_drift(drift: Drift) -> list[Judged]:
    if drift.verdict.answer is Answer.NOT_ENOUGH_DATA:
        return []
    return [("drift", drift.verdict.is_yes, one) for one in drift.verdict.reasons]


def _of_chart(chart: Charted) -> Judged:
    return chart.cause, chart.is_alarm, chart.reason


def _undefined(quality: Quality | None) -> tuple[str, ...]:
    if quality is None or quality.is_defined:
        return ()
    which = f"{quality.rows} labelled rows" if math.isnan(quality.value) else "its promotion's rows"
    return (f"{quality.metric} is not defined on {which}, where the answers are all alike",)


def _judge_quality(rules: Monitoring, quality: Quality) -> tuple[bool, str]:
    fall = quality.promoted_value - quality.value
    drop = -fall if quality.is_error else fall
    limit = rules.quality_drop * (abs(quality.promoted_value) if quality.has_unit else 1.0)
    is_bad = not drop <= limit and not drop <= CERTAINTY_Z * _spread(quality)
    interval = "" if quality.low is None else f" ({quality.low:.4g} to {quality.high:.4g})"
    return is_bad, (
        f"{quality.metric} {quality.value:.4g}{interval} on {quality.rows} labelled rows, "
        f"{quality.promoted_value:.4g} when promoted: {_size(quality, fall)} "
        f"{'lower' if fall > 0 else 'higher'} (alarm at {_size(quality, limit)} "
        f"{'higher' if quality.is_error else 'lower'}, if that is no accident)"
    )


def _spread(quality: Quality) -> float:
    if quality.spread is not None:
        return quality.spread
    rows, promoted_rows = quality.rows, quality.promoted_rows
    pooled = (quality.value * rows + quality.promoted_value * promoted_rows) / (
        rows + promoted_rows
    )
    return math.sqrt(max(pooled * (1 - pooled), 1e-9) * (1 / rows + 1 / promoted_rows))


def _size(quality: Quality, difference: float) -> str:
    """A share of right rows in points, anything else as it is."""
    if quality.spread is None:
        return f"{abs(difference) * 100:.1f} points"
    return f"{abs(difference):.3g}"


def _of_service(rules: Monitoring, service: Service) -> list[Judged]:
    found: list[Judged] = []
    if service.is_answering is False:
        found.append(("service", True, "the model server does not answer"))
    if service.latency_p99_ms is not None:
        is_slow = service.latency_p99_ms > rules.latency_p99_ms
        reason = (
            f"latency p50 {service.latency_p50_ms:.1f} ms, p99 {service.latency_p99_ms:.1f} ms "
            f"(limit {rules.latency_p99_ms:g})"
        )
        found.append(("service", is_slow, reason))
    if service.memory_mb is not None:
        is_large = service.memory_mb > rules.memory_mb
        reason = f"server memory {service.memory_mb:.0f} MB (limit {rules.memory_mb:g})"
        found.append(("service", is_large, reason))
    return found
