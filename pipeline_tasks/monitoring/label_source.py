"""Labels that arrive in a file or a table: what is new in it joins those that clients told."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import JsonValue, ValidationError

from pipeline_tasks import observations
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.errors import DataError, EmptyError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.store import read_json, write_text
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.observations import LABELS, segments
from pipeline_tasks.observations.telling import PREDICTION_ID, Told, line, misfit
from pipeline_tasks.run import Run
from pipeline_tasks.sections.observing import LabelSource
from pipeline_tasks.sections.settings import Column, Label

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

STATE, WATERMARK = "label_source.json", "watermark.json"
SHOWN = 20


class Taken(NamedTuple):
    """What one look at the source found: rows, new labels, and ids that have different ones."""

    rows: int = 0
    new: int = 0
    conflicting: int = 0


class _State(Frozen):
    """Up to where a source has been read: its content, and the greatest watermark seen."""

    settings: str = ""
    content: str = ""
    seen: JsonValue = None


def take(run: Run) -> Taken:
    """Add the labels of the pipeline's label source that are not known yet, all or none.

    A source whose content has not changed is not read; of SQL with a `watermark`, only what
    follows is. A row is known when its id has had this label, with this time: so the same file
    again changes nothing. Of different labels for an id, the one with the later time counts, or
    the later row.
    Raises DataError that names the file, row, column and value of what cannot be a label.
    """
    section = run.config.observation.labels
    if section is None:
        return Taken()
    path = run.store.observations(run.config.name) / STATE
    before, settings = _state(path, section), section.source.settings()
    if settings.get("watermark") and before.seen is not None:
        settings["since"] = before.seen
    part = registry.part("sources", section.source.kind)
    params = registry.params("sources", section.source.kind, settings)
    content = "" if settings.get("watermark") else part.digest(params)
    if content and content == before.content:
        return Taken()
    with tempfile.TemporaryDirectory(dir=run.store.root, prefix=".labels-") as folder:
        part.fetch(params, Path(folder))
        rows = _read(part, params, Path(folder), run.config)
        seen = _seen(Path(folder))
    taken = _keep(run, rows)
    state = before.model_copy(
        update={"content": content, "seen": before.seen if seen is None else seen}
    )
    write_text(path, state.model_dump_json(indent=1))
    log.info("labels: %s rows read, %s new, %s ids with different labels", *taken)
    return taken


def _state(path: Path, section: LabelSource) -> _State:
    """Where the last look ended; of another source, or one that cannot be read, the beginning."""
    settings = digest_of_text(section.model_dump_json())
    try:
        found = _State.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        found = _State()
    return found if found.settings == settings else _State(settings=settings)


def _seen(folder: Path) -> JsonValue:
    path = folder / WATERMARK
    told: Any = read_json(path) if path.is_file() else {}
    seen: JsonValue = told.get("seen")
    return seen


def _read(part: Any, params: Any, folder: Path, config: PipelineConfig) -> list[tuple[str, Told]]:
    """Ids and labels in the order of their times. Raises DataError that lists what is wrong."""
    section = config.observation.labels
    assert section is not None
    columns = {section.id: Column(type="text")}
    columns |= {section.time: Column(type="text", nullable=True)} if section.time else {}
    label = config.label.model_copy(update={"name": section.label or config.label.name})
    changes = {"source": section.source, "columns": columns, "label": label}
    try:
        frame: pd.DataFrame = part.read(params, folder, config.model_copy(update=changes))
    except EmptyError:
        return []
    texts = frame.astype(object).where(frame.notna(), None)
    ids = texts[section.id].tolist()
    labels = [_plain(value, label) for value in texts[label.name].tolist()]
    times = texts[section.time].tolist() if section.time else [None] * len(ids)
    moments = [_moment(time) for time in times]
    names = (section.id, label.name, section.time or "")
    wrong = [
        f"{part.place(params, row)}, column {name}: {value!r:.80}, expected {expected}"
        for row, values in enumerate(zip(ids, labels, times, strict=True))
        for name, value, expected in _misfits(names, values, moments[row], label)
    ]
    if wrong:
        raise _refused(wrong, len(ids))
    told = [
        (key, Told(value, when or ""))
        for key, value, when in zip(ids, labels, moments, strict=True)
    ]
    return sorted(told, key=lambda pair: pair[1].observed_at)


def _plain(value: Any, label: Label) -> Any:
    """A class that is a whole number is one, whatever the table makes of it."""
    is_whole = isinstance(value, float) and value.is_integer() and label.type == "class"
    return int(value) if is_whole else value


def _misfits(
    names: Sequence[str], values: Sequence[Any], moment: str | None, label: Label
) -> Iterator[tuple[str, Any, str]]:
    (id_name, label_name, time_name), (identity, value, time) = names, values
    if identity is None or not PREDICTION_ID.fullmatch(identity):
        yield id_name, identity, "a prediction's id"
    if label.classes and value not in label.classes:
        yield label_name, value, f"one of {list(label.classes)}"
    elif problem := misfit(value):
        yield label_name, value, problem
    if moment is None:
        yield time_name, time, "a moment in ISO 8601 such as 2026-01-31T13:45:00Z"


def _moment(text: str | None) -> str | None:
    """In UTC, "" where there is none; None where it is no moment."""
    if text is None:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return clock.text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _refused(wrong: Sequence[str], rows: int) -> DataError:
    more = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    return DataError(
        "\n    ".join(
            [f"{len(wrong)} values in {rows} rows cannot be labels:", *wrong[:SHOWN], *more]
        ),
        expected="a prediction id and a label in every row; none of them was taken",
        fix="mend the source, or observation.labels in the pipeline file",
    )


def _keep(run: Run, rows: Sequence[tuple[str, Told]]) -> Taken:
    folder, moment = run.store.observations(run.config.name), clock.text(clock.now())
    ids = {key for key, _ in rows}
    history = observations.label_history(folder, ids=ids)
    known = {(one.id, one.label, one.observed_at) for each in history.values() for one in each}
    labels_of: dict[str, set[Any]] = {}
    new: list[bytes] = []
    for key, told in rows:
        labels_of.setdefault(key, set()).add(told.label)
        if (key, *told) not in known:
            known.add((key, *told))
            new.append(line(key, told, moment))
    if new:
        segments.write_whole(folder / LABELS, moment, b"".join(new))
    conflicting = sum(len(labels) > 1 for labels in labels_of.values())
    return Taken(len(rows), len(new), conflicting)
