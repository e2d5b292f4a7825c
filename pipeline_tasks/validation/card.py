"""The model card: what a version is for, made of and good at, and where not to trust it.

After Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.store import MANIFEST, read_json
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run
from pipeline_tasks.sections import variants
from pipeline_tasks.sections.variants import Variants
from pipeline_tasks.validation import limits

FILE = "card.md"
KEPT = ("test", "recent")


@dataclass(frozen=True)
class Subject:
    """The candidate a card is about. refs: the artifacts it was made of, by name."""

    config: PipelineConfig
    run: str
    refs: Mapping[str, Ref]
    evaluation: Mapping[str, Any]
    curves: Mapping[str, Any]
    reasons: str
    variants: Variants | None = None


def titled(run: Run, version: int, described: str) -> str:
    """The card under the version's name, which is known last."""
    return f"# {run.config.name}, version {version}\n{described}"


def of(run: Run, refs: Mapping[str, Ref]) -> str:
    """The card of a candidate as Markdown. refs: at least model, evaluation, prepared, verdict."""
    evaluation: Any = read_json(run.open(refs["evaluation"]) / "evaluation.json")
    curves: Any = read_json(run.open(refs["model"]) / "curves.json")
    subject = Subject(
        config=run.config,
        run=run.id,
        refs={**_origins(run, refs["prepared"]), **refs},
        evaluation=evaluation,
        curves=curves,
        reasons=str(refs["verdict"].summary.get("reasons", "")),
        variants=variants.read(run.open(refs["exported"])) if "exported" in refs else None,
    )
    return "\n".join(_lines(subject)) + "\n"


def schema_digest(config: PipelineConfig) -> str:
    """A digest of the declared columns and label: two versions with the same one take the same."""
    schema = {key: config.section(key) for key in ("columns", "label")}
    return digest_of_text(json.dumps(schema, sort_keys=True))


def _origins(run: Run, ref: Ref) -> dict[str, Ref]:
    """The artifacts before this one, as far back as the store still has them, oldest first."""
    found: dict[str, Ref] = {}
    waiting = [ref]
    while waiting:
        try:
            manifest: Any = read_json(run.open(waiting.pop()) / MANIFEST)
        except ArtifactError:
            continue
        inputs = {name: Ref.model_validate(one) for name, one in manifest["inputs"].items()}
        found = inputs | found
        waiting += inputs.values()
    return found


def _lines(subject: Subject) -> Iterator[str]:
    config = subject.config
    yield from _section("What it is for", _purpose(config))
    yield from _section("Data", _data(subject))
    for split in KEPT:
        report = subject.evaluation["splits"].get(split)
        if report:
            where = "held-out" if split == "test" else "latest labelled"
            title = f"Quality on {report['rows']} {where} rows"
            yield from _section(title, _quality(report, subject.evaluation["champion_version"]))
    yield from _section("Why it was promoted", _bullets(subject.reasons.split("; ")))
    yield from _section("Training", _training(subject))
    yield from _section("Columns that matter", _importance(subject))
    if subject.variants:
        yield from _section("Exported variants", _variants(subject.variants))
    yield from _section("Lineage", _lineage(subject))
    yield from _section("Known limits", _bullets(limits.known(config, subject.evaluation)))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "", *lines)


def _purpose(config: PipelineConfig) -> Iterator[str]:
    yield config.description or "The pipeline file has no description."
    what = f"one of {', '.join(map(str, config.label.classes))}"
    if config.task == "regression":
        what = "a number"
    yield ""
    yield f"It answers `{config.label.name}`, {what}. Owner: {config.owner}."


def _data(subject: Subject) -> Iterator[str]:
    raw, prepared = subject.refs.get("raw"), subject.refs["prepared"]
    yield f"- source: {subject.config.source.kind}"
    yield f"- digest of the source's rows: {raw.digest if raw else 'no longer in the store'}"
    yield f"- digest of the prepared rows: {prepared.digest}"
    yield f"- digest of the schema: {schema_digest(subject.config)}"
    counts = [
        f"{name} {prepared.summary[name]}"
        for name in ("train", "validation", "test", "recent")
        if name in prepared.summary
    ]
    yield f"- rows: {', '.join(counts)}"


def _quality(report: Mapping[str, Any], champion_version: int | None) -> Iterator[str]:
    beside = f"version {champion_version}" if report["champion"] else "champion"
    yield from _table(("metric", "this version", "95 % interval", beside, "naive"))
    for kind in report["candidate"]:
        yield _row(kind, *_beside(report, kind))
    if report["by_class"]:
        yield ""
        yield from _table(("class", "rows", "precision", "recall", "F1"))
        for one in report["by_class"]:
            numbers = (_text(one[key]) for key in ("precision", "recall", "f1"))
            yield _row(one["class"], one["rows"], *numbers)
    if report["slices"]:
        yield ""
        titles = ("slice", "rows", "metric", "this version", "95 % interval", beside, "naive")
        yield from _table(titles)
        for one in report["slices"]:
            for kind in one["candidate"]:
                yield _row(
                    f"{one['column']} {one['value']}", one["rows"], kind, *_beside(one, kind)
                )


def _beside(part: Mapping[str, Any], kind: str) -> tuple[str, str, str, str]:
    """This version's metric, its interval, the champion's and the naive one."""
    of_candidate = part["intervals"].get("candidate", part["intervals"])
    ends = of_candidate.get(kind)
    return (
        _text(part["candidate"][kind]),
        f"{_text(ends[0])} to {_text(ends[1])}" if ends else "-",
        _text(part["champion"][kind]) if part["champion"] else "-",
        _text(part["baseline"][kind]),
    )


def _training(subject: Subject) -> Iterator[str]:
    config, summary = subject.config, subject.refs["model"].summary
    loss, validation = subject.curves["loss"], subject.curves["validation_loss"]
    yield f"- model: {json.dumps(config.model.model_dump(mode='json'))}"
    yield f"- parameters: {summary.get('parameters')}"
    yield f"- settings: {json.dumps(config.training.model_dump(mode='json'))}"
    yield f"- seed: {config.training.seed}"
    yield f"- epochs: {summary.get('epochs')}, the best one {summary.get('best_epoch')}"
    yield f"- loss: {_text(loss[0])} in the first epoch, {_text(loss[-1])} in the last"
    yield (
        f"- validation loss: {_text(validation[0])} after the first epoch, "
        f"{_text(min(validation))} at best, {_text(validation[-1])} after the last"
    )
    yield f"- fit: {subject.evaluation['diagnosis']['fit']}"


def _importance(subject: Subject) -> Iterator[str]:
    importance = subject.evaluation["importance"]
    if not importance:
        yield "Not measured."
        return
    kind = subject.config.metrics[0]
    yield from _table(("column", f"{kind} lost when shuffled", "spread of three shuffles"))
    for name, one in importance.items():
        yield _row(name, _text(one["mean"]), _text(one["spread"]))


def _variants(found: Variants) -> Iterator[str]:
    yield f"Compared with the trained model on {found.rows} test rows."
    yield ""
    titles, *lines = found.table()
    yield from _table(titles)
    yield from (_row(*line) for line in lines)


def _lineage(subject: Subject) -> Iterator[str]:
    yield f"Promoted by run {subject.run}."
    yield ""
    yield from _table(("artifact", "made by run", "digest"))
    for name, ref in subject.refs.items():
        yield _row(name, ref.run, ref.digest)


def _bullets(texts: Sequence[str]) -> list[str]:
    return [f"- {text}" for text in texts if text]


def _table(titles: Sequence[str]) -> Iterator[str]:
    yield _row(*titles)
    yield _row(*("---" for _ in titles))


def _row(*cells: object) -> str:
    """A line of a table.

    >>> _row("a|b", 3)
    '| a\\\\|b | 3 |'
    """
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _text(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4g}"
