"""A pipeline's page as one file that needs neither Airflow nor a network, and as data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store, write_text
from pipeline_tasks.pages import rendering
from pipeline_tasks.pages.activity import Activity
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.pipeline import SPANS, Asked, PipelinePage, pipeline_page
from pipeline_tasks.pages.reading import Journals


def write(store: Store, config: PipelineConfig, folder: Path) -> tuple[Path, Path]:
    """Write `<pipeline>.html` and `<pipeline>.json`; returns their paths."""
    page = _page(store, config)
    html, data = (folder / f"{config.name}.{kind}" for kind in ("html", "json"))
    write_text(html, _html(page))
    write_text(data, orjson.dumps(as_data(page), option=orjson.OPT_INDENT_2).decode() + "\n")
    return html, data


def _page(store: Store, config: PipelineConfig) -> PipelinePage:
    journals, files = Journals(store), Files(store)
    found = pipeline_page(journals, files, config, Activity(), Asked(span=SPANS[-1]))
    drifted = [
        (look, one)
        for look in reversed(found.heat_map.looks)
        for name in found.heat_map.features
        if (one := found.heat_map.at(name, look)) is not None
    ]
    # What a click would show: the strongest finding of the newest look.
    newest = [pair for pair in drifted if pair[0] is drifted[0][0]] if drifted else []
    chosen = max(newest, key=lambda pair: pair[1].strength, default=None)
    return dataclasses.replace(found, chosen=chosen)


def _html(page: PipelinePage) -> str:
    return rendering.render(
        "pipeline.html",
        root="",
        home="",
        offline=True,
        said=f"Report of {clock.text(clock.now())[:16].replace('T', ' ')} UTC",
        style=(rendering.STATIC / "pages.css").read_text(),
        script=(rendering.STATIC / "pages.js").read_text(),
        page=page,
        spans=SPANS,
        can_snooze=False,
    )


def as_data(page: PipelinePage) -> dict[str, Any]:
    """The same as values that JSON knows."""
    found = {
        "pipeline": page.config.name,
        "state": page.health.state,
        "what": page.health.what,
        "reasons": page.health.reasons,
        "champion": page.champion,
        "metric": page.metric,
        "limit": page.limit,
        "stages": page.stages,
        "looks": [
            {
                "id": look.id,
                "at": look.at,
                "version": look.version,
                "answer": look.answer,
                "reasons": look.reasons,
                "quality": look.quality,
                "estimated": look.estimated,
                "predictions": look.predictions,
                "labelled": look.labelled,
                "latency_ms": look.latency_ms,
                "errors": look.errors,
                "memory_mb": look.memory_mb,
            }
            for look in page.looks
        ],
        "drift": [
            {"look": look_id, **vars(one)} for (_, look_id), one in page.heat_map.findings.items()
        ],
        "decisions": page.decisions,
        "versions": page.versions,
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(vars(value))
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
