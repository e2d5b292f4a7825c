"""Live quality and drift of one look, from its record or, where that is older, from its report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.values import Champion
from pipeline_tasks.pages.reading import Estimate, Files, Look

REPORT = "report.json"
WILSON_Z = 1.96


@dataclass(frozen=True)
class Limit:
    """Where quality alarms. promoted: what the champion was promoted with."""

    promoted: float
    alarm: float
    is_error: bool

    def is_broken_by(self, value: float) -> bool:
        """Whether this value is on the wrong side."""
        return value > self.alarm if self.is_error else value < self.alarm


def report_of(files: Files, look: Look) -> Mapping[str, Any]:
    """Every number of a look; nothing when its artifact was cleared away."""
    return files.json(look.report, REPORT) or {}


def quality_of(files: Files, look: Look) -> Estimate | None:
    """The promotion metric on the look's labelled rows, if it had any."""
    if look.quality is not None:
        return look.quality
    if not look.labelled:
        return None
    found = report_of(files, look).get("quality")
    if not found or _number(found["value"]) is None:
        return None
    low, high = _ends(found)
    return Estimate(found["value"], low, high, found["rows"])


def _ends(found: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The 95 % interval of a share of right rows.

    Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.
    """
    if found.get("low") is not None:
        return found["low"], found["high"]
    value, rows = found["value"], found["rows"]
    if found.get("spread") is not None or not 0 <= value <= 1:
        return None, None
    z2 = WILSON_Z**2
    middle = (value + z2 / (2 * rows)) / (1 + z2 / rows)
    half = WILSON_Z / (1 + z2 / rows) * math.sqrt(value * (1 - value) / rows + z2 / (4 * rows**2))
    return middle - half, middle + half


def limit(
    config: PipelineConfig, files: Files, champion: Champion | None, look: Look | None
) -> Limit | None:
    """What the champion's live quality must keep to."""
    promoted = _promoted(config, files, champion, look)
    if promoted is None:
        return None
    part = registry.part("metrics", config.promotion.metric)
    drop = config.monitoring.quality_drop * (
        abs(promoted) if getattr(part, "HAS_UNIT", False) else 1
    )
    is_error = not part.HIGHER_IS_BETTER
    return Limit(promoted, promoted + drop if is_error else promoted - drop, is_error)


def _promoted(
    config: PipelineConfig, files: Files, champion: Champion | None, look: Look | None
) -> float | None:
    is_of_it = look is not None and champion is not None and look.version == champion.version
    judged = report_of(files, look).get("quality") if look and is_of_it else None
    if judged and _number(judged["promoted_value"]) is not None:
        return float(judged["promoted_value"])
    if champion is None:
        return None
    metric = config.promotion.metric
    summary = champion.evaluation.summary
    for split in ("recent", "test"):
        found = _number(summary.get(f"{split}_candidate_{metric}"))
        if found is not None:
            return found
    return None


def drifted(files: Files, look: Look) -> tuple[int, int] | None:
    """How many features have drifted, of how many that were compared."""
    if look.drifted is not None:
        return look.drifted
    findings = report_of(files, look).get("drift") or []
    return (sum(bool(one.get("is_drift")) for one in findings), len(findings)) if findings else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]
