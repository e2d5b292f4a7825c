"""The page of one pipeline: is its loop healthy, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Champion, HistoryEntry
from pipeline_tasks.monitoring.notifying import snoozed_until
from pipeline_tasks.pages import charts, series
from pipeline_tasks.pages.activity import Activity
from pipeline_tasks.pages.drift import MOST_SEARCHED, Finding, HeatMap, heat_map
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.health import Health, health
from pipeline_tasks.pages.quality import Limit, limit
from pipeline_tasks.pages.reading import Journals, Look
from pipeline_tasks.pages.stages import Stage, Tasks, stages
from pipeline_tasks.release import quarantine

MOST_DECISIONS = 50
SPANS = (50, 200, 1000)


@dataclass(frozen=True)
class Asked:
    """What the reader chose. span: how many looks the charts show; cell: of the heat map."""

    span: int = SPANS[1]
    look: str = ""
    feature: str = ""


@dataclass(frozen=True)
class PipelinePage:
    """Everything the page shows, as values; charts are drawn when they are asked for."""

    config: PipelineConfig
    champion: Champion | None
    health: Health
    stages: Sequence[Stage]
    limit: Limit | None
    looks: Sequence[Look]
    look_count: int
    heat_map: HeatMap
    chosen: tuple[Look, Finding] | None
    decisions: Sequence[HistoryEntry]
    history: Sequence[HistoryEntry]
    versions: Sequence[Champion]
    quarantined: frozenset[int]
    snoozed_until: str | None
    activity: Activity
    asked: Asked
    files: Files = field(repr=False)

    @property
    def metric(self) -> str:
        """What production is judged by."""
        return self.config.promotion.metric

    @property
    def quality_chart(self) -> Markup:
        """Quality over time."""
        return series.quality(self.looks, self.history, self.limit, self.metric)

    @property
    def service_charts(self) -> list[Markup]:
        """Latency, requests and memory over time."""
        rules = self.config.monitoring
        return series.service(self.looks, rules.latency_p99_ms, rules.memory_mb)

    @property
    def overlay(self) -> Markup:
        """Reference and current of the chosen cell."""
        found = self.chosen[1] if self.chosen else None
        if found is None or found.shares is None:
            return Markup("")
        cells = found.shares.merged
        title = f"{found.name}: reference and current"
        return charts.overlay([*map(str, cells.names)], cells.reference, cells.current, title)


def pipeline_page(
    journals: Journals,
    files: Files,
    config: PipelineConfig,
    activity: Activity,
    asked: Asked = Asked(),
    tasks: Tasks | None = None,
) -> PipelinePage:
    """Gather it. tasks: the newest training run's, by id, with their state."""
    champion = journals.store.champion(config.name)
    history = journals.history(config.name)
    looks = journals.looks(config.name, max(asked.span, MOST_SEARCHED))
    versions = journals.versions(config.name, history)
    shown = looks[-asked.span :]
    map_ = heat_map(files, looks)
    return PipelinePage(
        config=config,
        champion=champion,
        health=health(champion, looks, activity),
        stages=stages(champion, history, looks, activity, tasks or {}),
        limit=limit(config, files, champion, looks[-1] if looks else None),
        looks=shown,
        look_count=journals.look_count(config.name),
        heat_map=map_,
        chosen=_chosen(map_, asked),
        decisions=history[: -MOST_DECISIONS - 1 : -1],
        history=[one for one in history if shown and one.at >= shown[0].at],
        versions=versions,
        quarantined=_quarantined(files, versions, history),
        snoozed_until=clock.text(until) if (until := snoozed_until(history)) else None,
        activity=activity,
        asked=asked,
        files=files,
    )


def _chosen(map_: HeatMap, asked: Asked) -> tuple[Look, Finding] | None:
    for look in map_.looks:
        found = map_.at(asked.feature, look) if look.id == asked.look else None
        if found is not None:
            return look, found
    return None


def _quarantined(
    files: Files, versions: Sequence[Champion], history: Sequence[HistoryEntry]
) -> frozenset[int]:
    """Which of these versions no run promotes again by itself."""
    held: set[str] = set()
    for entry in history:
        if entry.event in (quarantine.INCIDENT, quarantine.ROLLBACK) and entry.subject:
            held.add(entry.subject)
        elif entry.event == quarantine.LIFTED:
            held.discard(entry.subject)
    return frozenset(one.version for one in versions if held and files.mark(one.model) in held)
