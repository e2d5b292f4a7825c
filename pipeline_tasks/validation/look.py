"""One look at production: everything that was found, for the report and for charts over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline_tasks.core.values import Scalar
from pipeline_tasks.decisions.alarm import Alarm, Quality, Service
from pipeline_tasks.validation.estimating import Estimated
from pipeline_tasks.validation.realised import SliceMeasured


@dataclass(frozen=True)
class Look:
    """Everything that was found.

    charts: `said` and `state`, as the report has them.

    changed_at: when production changed, by the charts that alarm; empty where none does.
    """

    judged: Alarm
    service: Service
    quality: Quality | None = None
    slices: Sequence[SliceMeasured] = ()
    estimated: Estimated | None = None
    estimator: tuple[str, float] = ("", 0.0)
    findings: Sequence[Any] = ()
    drifted: tuple[str, ...] = ()
    charts: dict[str, Any] | None = None
    changed_at: str = ""

    def as_json(self) -> dict[str, Any]:
        """The report but for the window's facts."""
        metric, expected = self.estimator
        estimated = self.estimated and self.estimated.model_dump(mode="json")
        return {
            "verdict": self.judged.verdict.model_dump(mode="json"),
            "causes": self.judged.causes,
            "quality": asdict(self.quality) if self.quality else None,
            "slices": [one.model_dump(mode="json") for one in self.slices],
            "estimated": estimated and {"metric": metric, "expected": expected} | estimated,
            "drift": [_shown(one) for one in self.findings],
            "drifted": self.drifted,
            "charts": self.charts,
            "service": asdict(self.service),
        }

    def numbers(self) -> dict[str, Scalar]:
        """What a chart over many looks shows."""
        enough = [one for one in self.findings if one.is_enough]
        largest = max(enough, key=lambda one: one.strength, default=None)
        return {
            **_ends("quality", self.quality),
            **_ends("estimated", self.estimated),
            "largest_drift": round(largest.strength, 4) if largest else None,
            "largest_drift_of": largest.name if largest else None,
            "drifted": sum(one.is_drift for one in enough),
            "compared": len(enough),
            "latency_p50_ms": self.service.latency_p50_ms,
            "latency_p95_ms": self.service.latency_p95_ms,
            "latency_p99_ms": self.service.latency_p99_ms,
            "memory_mb": self.service.memory_mb,
        }


def _ends(name: str, found: Quality | Estimated | None) -> dict[str, Scalar]:
    keys = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
    return {key: getattr(found, attribute, None) for key, attribute in keys.items()}


def _shown(finding: Any) -> dict[str, Any]:
    said = {key: getattr(finding, key) for key in ("name", "is_drift", "reason", "strength")}
    return {**finding.model_dump(mode="json"), **said}
