"""The page of all models: one row for each pipeline, who needs attention first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.values import Champion
from pipeline_tasks.pages.activity import Activity
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.health import Health, health
from pipeline_tasks.pages.quality import Limit, limit
from pipeline_tasks.pages.reading import Estimate, Journals, Look

NEWEST = 50


@dataclass(frozen=True)
class Row:
    """One pipeline at a glance. drift: how many features have drifted, of how many."""

    name: str
    description: str
    health: Health
    champion: Champion | None
    metric: str
    quality: Estimate | None
    limit: Limit | None
    drift: tuple[int, int] | None
    looked_at: str | None
    predictions: int
    latency_p99_ms: float | None
    activity: Activity


def rows(
    journals: Journals,
    files: Files,
    configs: Sequence[PipelineConfig],
    activities: Mapping[str, Activity],
) -> list[Row]:
    """Every pipeline, sorted by urgency and then by name."""
    found = [_row(journals, files, one, activities.get(one.name, Activity())) for one in configs]
    return sorted(found, key=lambda row: (row.health.urgency, row.name))


def _row(journals: Journals, files: Files, config: PipelineConfig, activity: Activity) -> Row:
    champion = journals.store.champion(config.name)
    looks = journals.looks(config.name, NEWEST)
    mine = [one for one in looks if champion and one.version == champion.version]
    look: Look | None = mine[-1] if mine else None
    judged = [one.quality for one in mine[-10:] if one.quality]
    return Row(
        name=config.name,
        description=config.description,
        health=health(champion, looks, activity),
        champion=champion,
        metric=config.promotion.metric,
        quality=judged[-1] if judged else None,
        limit=limit(config, files, champion, look),
        drift=look.drifted if look else None,
        looked_at=look.at if look else None,
        predictions=look.predictions if look else 0,
        latency_p99_ms=look.latency_ms.get("p99") if look else None,
        activity=activity,
    )
