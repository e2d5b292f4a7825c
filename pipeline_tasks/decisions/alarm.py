"""Is production degraded, and by what?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.production import Monitoring

CERTAINTY_Z = 2.326  # one-sided 1 %


@dataclass(frozen=True)
class Quality:
    """The promotion metric on labelled production rows, and when the champion was promoted.

    has_answers: the model answered with numbers; a metric that is still NaN is not defined on these
    rows, such as ROC AUC where all are of one class. is_error: lower is better. has_unit: it is in
    the label's own unit. spread: the standard error of the difference; None for a share of rows.
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

    @property
    def is_defined(self) -> bool:
        """Whether anything can be said; of answers that are no numbers it can."""
        values = (self.value, self.promoted_value) if self.has_answers else (self.promoted_value,)
        return not any(map(math.isnan, values))


@dataclass(frozen=True)
class Drift:
    """One feature's difference from the reference."""

    feature: str
    effect: float
    p_value: float
    is_drift: bool


@dataclass(frozen=True)
class Service:
    """How the server does; None where there is nothing to say."""

    is_answering: bool | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class Alarm:
    """The verdict (yes is degraded) and its causes: quality, drift, service."""

    verdict: Verdict
    causes: tuple[str, ...]


def alarm(
    rules: Monitoring,
    *,
    rows: int,
    quality: Quality | None,
    drifts: Sequence[Drift],
    service: Service,
) -> Alarm:
    """Degraded when quality fell, inputs or answers drifted, or the service misses its limits.

    rows: predictions in the window. With fewer than the minimum, both of predictions and of
    labelled rows, only the service is judged.
    """
    judged: list[tuple[str, bool, str]] = []
    if quality and quality.rows >= rules.minimum_rows and quality.is_defined:
        judged.append(("quality", *_judge_quality(rules, quality)))
    if rows >= rules.minimum_rows:
        judged.append(("drift", *_judge_drift(drifts)))
    service_found = _judge_service(rules, service)
    causes = tuple(dict.fromkeys(cause for cause, is_bad, _ in [*judged, *service_found] if is_bad))
    reasons = [reason for cause, is_bad, reason in [*judged, *service_found] if is_bad]
    if causes:
        return Alarm(Verdict(answer=Answer.YES, reasons=tuple(reasons)), causes)
    if not judged:
        labelled = quality.rows if quality else 0
        reason = (
            f"{rows} predictions and {labelled} labelled rows since the last verdict, "
            f"{rules.minimum_rows} of either needed"
        )
        few = (reason, *_undefined(quality))
        return Alarm(Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=few), ())
    good = tuple(reason for _, _, reason in [*judged, *service_found])
    return Alarm(Verdict(answer=Answer.NO, reasons=(*good, *_undefined(quality))), ())


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
    return is_bad, (
        f"{quality.metric} {quality.value:.4g} on {quality.rows} labelled rows, "
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


def _judge_drift(drifts: Sequence[Drift]) -> tuple[bool, str]:
    found = sorted((one for one in drifts if one.is_drift), key=lambda one: -one.effect)
    if not found:
        return False, f"none of {len(drifts)} features has drifted"
    named = ", ".join(
        f"{one.feature} by {one.effect:.2f} (p {one.p_value:.1g})" for one in found[:5]
    )
    return True, f"{len(found)} of {len(drifts)} features have drifted: {named}"


def _judge_service(rules: Monitoring, service: Service) -> list[tuple[str, bool, str]]:
    found = []
    if service.is_answering is False:
        found.append(("service", True, "the model server does not answer"))
    if service.latency_p99_ms is not None:
        is_slow = service.latency_p99_ms > rules.latency_p99_ms
        found.append(
            (
                "service",
                is_slow,
                f"latency p50 {service.latency_p50_ms:.1f} ms, p99 {service.latency_p99_ms:.1f} ms "
                f"(limit {rules.latency_p99_ms:g})",
            )
        )
    if service.memory_mb is not None:
        is_large = service.memory_mb > rules.memory_mb
        found.append(
            (
                "service",
                is_large,
                f"server memory {service.memory_mb:.0f} MB (limit {rules.memory_mb:g})",
            )
        )
    return found
