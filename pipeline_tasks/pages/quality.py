"""What a look's quality is held against, and its report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.values import Champion
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.reading import Look

REPORT = "report.json"


@dataclass(frozen=True)
class Limit:
    """Where quality alarms. promoted: what the champion was promoted with."""

    promoted: float
    alarm: float
    is_error: bool

    def is_broken_by(self, value: float) -> bool:
        """Whether this value is on the wrong side."""
        return value > self.alarm if self.is_error else value < self.alarm


def reports_of(files: Files, looks: Sequence[Look]) -> list[Mapping[str, Any]]:
    """Every number of each look; nothing where its artifact was cleared away."""
    return [found or {} for found in files.jsons([look.report for look in looks], REPORT)]


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
    judged = reports_of(files, [look])[0].get("quality") if look and is_of_it else None
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


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]
