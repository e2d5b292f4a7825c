"""The page of one version: how it learned, how good it is, what it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from pydantic import ValidationError

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.artifact import Manifest
from pipeline_tasks.core.store import RETRAINING
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref
from pipeline_tasks.pages import charts, curves
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.reading import Journals, manifest
from pipeline_tasks.sections import variants
from pipeline_tasks.sections.variants import Variants
from pipeline_tasks.validation import card

ORIGINS = ("deployment", "verdict", "exported", "evaluation", "model", "prepared", "checked", "raw")


@dataclass(frozen=True)
class VersionPage:
    """Everything the page shows; what was cleared away is None or empty."""

    config: PipelineConfig
    version: Champion
    is_champion: bool
    evaluation: Mapping[str, Any]
    drawn: Mapping[str, Any]
    exports: Variants | None
    card: Markup | None
    lineage: Sequence[tuple[str, Ref, Manifest | None]]
    parameters: Mapping[str, str]
    cause: HistoryEntry | None
    events: Sequence[HistoryEntry]
    neighbours: Sequence[int]

    @property
    def splits(self) -> Mapping[str, Any]:
        """What was measured, by split: test, and recent where there were enough labelled rows."""
        found: Mapping[str, Any] = self.evaluation.get("splits", {})
        return found

    @property
    def learning(self) -> Markup:
        """Loss by epoch."""
        return curves.learning(self.drawn.get("learning"))

    @property
    def learning_beside(self) -> Markup:
        """The same, beside another version's."""
        return curves.learning(self.drawn.get("learning"), width=charts.NARROW)

    def curves(self, split: str) -> list[tuple[str, Markup]]:
        """The split's other charts, each with its title."""
        return curves.of_split(self.drawn.get("splits", {}).get(split))

    @property
    def importance(self) -> list[tuple[str, float, float]]:
        """Columns by what shuffling them costs, with the width of a bar in percent."""
        found = self.evaluation.get("importance") or {}
        most = max([abs(one["mean"]) for one in found.values()], default=0.0) or 1.0
        return [(name, one["mean"], 100 * abs(one["mean"]) / most) for name, one in found.items()]

    @property
    def digests(self) -> Iterator[tuple[str, str]]:
        """What says whether data, schema or weights are the same as another version's."""
        for name, ref, _ in self.lineage:
            if name in ("raw", "prepared", "model"):
                words = {"raw": "source's rows", "prepared": "prepared rows", "model": "model"}
                yield words[name], ref.digest
        yield "schema in the pipeline file now", card.schema_digest(self.config)


def version_page(
    journals: Journals, files: Files, config: PipelineConfig, number: int
) -> VersionPage | None:
    """Gather it; None when there is no such version."""
    store, name = journals.store, config.name
    version = store.version(name, number)
    if version is None:
        return None
    history, champion = journals.history(name), store.champion(name)
    lineage = list(_lineage(journals, files, version))
    deployment = next((ref for key, ref, _ in lineage if key == "deployment"), None)
    numbers = sorted({one.version for one in history if one.event == "promotion" and one.version})
    return VersionPage(
        config=config,
        version=version,
        is_champion=champion is not None and champion.version == number,
        evaluation=files.json(version.evaluation, "evaluation.json") or {},
        drawn=files.json(version.evaluation, "curves.json") or {},
        exports=_exports(files, version.exported),
        card=_card(files, deployment),
        lineage=lineage,
        parameters=dict(_parameters(lineage)),
        cause=_cause(history, version),
        events=[one for one in history if number in (one.version, one.previous_version)],
        neighbours=[one for one in numbers if one != number],
    )


def _cause(history: Sequence[HistoryEntry], version: Champion) -> HistoryEntry | None:
    """The decision to train again that the version came of, if an alarm began it."""
    for entry in reversed(history):
        if entry.event == RETRAINING and version.run == f"retrain__{entry.episode}":
            return entry
    return None


def _lineage(
    journals: Journals, files: Files, version: Champion
) -> Iterator[tuple[str, Ref, Manifest | None]]:
    """Every artifact that the version is made of, the last one first."""
    waiting: list[Ref] = []
    found = manifest(journals.store, version.model.pipeline, version.run, "deployment")
    if found:
        waiting.append(found[0])
    waiting += [version.exported, version.evaluation, version.model, version.prepared]
    known: dict[str, tuple[Ref, Manifest | None]] = {}
    while waiting:
        ref = waiting.pop(0)
        if ref.artifact in known or ref.artifact not in ORIGINS:
            continue
        made = files.manifest(ref)
        known[ref.artifact] = ref, made
        waiting += made.inputs.values() if made else ()
    for name in ORIGINS:
        if name in known:
            yield name, *known[name]


def _exports(files: Files, exported: Ref) -> Variants | None:
    found = files.json(exported, variants.REPORT.as_posix())
    try:
        return Variants.model_validate(found) if found else None
    except ValidationError:
        return None


def _card(files: Files, deployment: Ref | None) -> Markup | None:
    text = files.text(deployment, card.FILE) if deployment else None
    if text is None:
        return None
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return Markup(markdown.render(text))  # noqa: S704 (raw HTML in it is escaped)


def _parameters(
    lineage: Sequence[tuple[str, Ref, Manifest | None]],
) -> Iterator[tuple[str, str]]:
    """What training was told, flat: `training.epochs`, `model.kind` and the like."""
    for name, _, made in lineage:
        settings = made.settings if made and name in ("model", "prepared", "verdict") else None
        for key, value in settings.items() if isinstance(settings, dict) else ():
            if key in ("model", "training", "split", "preparation", "promotion"):
                yield from _flat(key, value)


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}", inner)
    elif value is not None and value not in ([], ""):
        yield prefix, str(value)


@dataclass(frozen=True)
class Difference:
    """One number of two versions. is_better: the right one's is; None where nobody can say."""

    name: str
    left: object
    right: object
    is_better: bool | None = None


def differences(left: VersionPage, right: VersionPage) -> dict[str, list[Difference]]:
    """What differs, by topic; metrics always, settings only where they are not the same."""
    from pipeline_tasks.core import registry

    metrics = []
    for split in sorted({*left.splits, *right.splits}, reverse=True):
        both = [page.splits.get(split, {}).get("candidate") or {} for page in (left, right)]
        for kind in dict.fromkeys([*both[0], *both[1]]):
            a, b = (one.get(kind) for one in both)
            higher = registry.part("metrics", kind).HIGHER_IS_BETTER
            is_better = None if a is None or b is None or a == b else (b > a) == higher
            metrics.append(Difference(f"{kind} on {split} rows", a, b, is_better))
    names = dict.fromkeys([*left.parameters, *right.parameters])
    settings = [
        Difference(name, left.parameters.get(name, "-"), right.parameters.get(name, "-"))
        for name in names
        if left.parameters.get(name) != right.parameters.get(name)
    ]
    digests = dict(left.digests), dict(right.digests)
    data = [
        Difference(name, digests[0].get(name, "-"), digests[1].get(name, "-"))
        for name in digests[0]
        if digests[0].get(name) != digests[1].get(name)
    ]
    return {"Metrics": metrics, "Settings that differ": settings, "Data that differs": data}
