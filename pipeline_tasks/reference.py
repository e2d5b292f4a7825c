"""Everything a pipeline file may say, as Markdown, from the settings and the parts themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from pipeline_tasks import config, sources
from pipeline_tasks.core import registry
from pipeline_tasks.sections import (
    deployment,
    observing,
    preparation,
    production,
    settings,
    training,
    variants,
)

SECTIONS: dict[str, type[BaseModel]] = {
    "columns: one of them": settings.Column,
    "label": settings.Label,
    "split": settings.Split,
    "preparation": preparation.Preparation,
    "preparation: augmentation": preparation.Augmentation,
    "preparation: balance": preparation.Balance,
    "training": training.Training,
    "tuning": training.Tuning,
    "tuning: one of the parameters": training.Space,
    "evaluation": settings.Evaluation,
    "promotion": settings.Promotion,
    "export": variants.Export,
    "observation": observing.Observation,
    "observation: labels": observing.LabelSource,
    "deployment": deployment.Deployment,
    "monitoring": production.Monitoring,
    "retraining": production.Retraining,
    "retraining: budget": production.Budget,
    "notifying": production.Notifying,
}
FOLDERS = {
    "sources": "`source: {kind: ...}`",
    "transforms": "`preparation: {features: {name: {kind: ...}}}`, and `outliers: {kind: ...}`",
    "storages": "`storage: {kind: ...}`, if any",
    "models": "`model: {kind: ...}`",
    "metrics": "`metrics: [...]`",
    "detectors": "`monitoring: {detector: {kind: ...}}`",
    "targets": "`target: {kind: ...}`",
    "notifiers": "`notifiers: [{kind: ...}]`",
}
HEAD = """\
# What a pipeline file may say

Made from the code by `python -m pipeline_tasks reference > docs/reference.md`; a test compares.
Every mistake in a file is reported with its line by `python -m pipeline_tasks check`.

"""


def text() -> str:
    """The whole reference."""
    parts = [HEAD, "## The file\n", *_table(config.PipelineConfig)]
    for title, model in SECTIONS.items():
        parts += [f"## {title}\n", f"{_first_line(model.__doc__)}\n", *_table(model)]
    for folder, usage in FOLDERS.items():
        parts += [f"## {folder.capitalize()}: {usage}\n"]
        for name in registry.known(folder):
            parts += _part(folder, name)
    return "\n".join(parts).rstrip() + "\n"


def _part(folder: str, name: str) -> Iterator[str]:
    module: ModuleType = registry.part(folder, name)
    yield f"**{name}**: {_first_line(module.__doc__)}\n"
    if hasattr(module, "Params"):
        yield from _table(module.Params)


def _table(model: type[BaseModel]) -> Iterator[str]:
    if not model.model_fields:
        return
    yield "| key | default | what |"
    yield "|---|---|---|"
    # What is a part's own comes before what those that ask over a network share.
    shared = sources.Patience.model_fields if issubclass(model, sources.Patience) else ()
    for name in sorted(model.model_fields, key=shared.__contains__):
        field = model.model_fields[name]
        default = "required" if field.is_required() else f"`{_plain(field.get_default())}`"
        schema = model.model_json_schema()["properties"].get(field.alias or name, {})
        what = " ".join(filter(None, [field.description or "", _choices(schema)]))
        yield f"| `{field.alias or name}` | {default} | {what} |"
    yield ""


def _choices(schema: dict[str, Any]) -> str:
    """The values that may be chosen among, where they are few."""
    found = schema.get("enum") or [
        value for part in schema.get("anyOf", []) for value in part.get("enum", [])
    ]
    return f"One of {', '.join(f'`{value}`' for value in found)}." if found else ""


def _plain(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, tuple):
        value = [
            one.model_dump(mode="json") if isinstance(one, BaseModel) else one for one in value
        ]
    return json.dumps(value, default=str)


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0] if doc else ""
