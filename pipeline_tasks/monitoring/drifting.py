"""What is watched for drift: columns made of rows, a reference kept of them, windows counted in it.

evaluate keeps the reference, collect counts a window's rows in it, monitor compares the two.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import JsonValue

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Champion, Frozen
from pipeline_tasks.data import rows
from pipeline_tasks.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

log = logging.getLogger(__name__)

REFERENCE, COUNTS = "drift.json", "counts.json"


class Kept(Frozen):
    """drift.json: a reference as its detector keeps it; None, and why, where it cannot.

    splits: where its rows, none of them trained on, are from.
    """

    kind: str
    splits: tuple[str, ...]
    rows: int
    summary: JsonValue = None
    obstacle: str = ""


class Seen(NamedTuple):
    """A finding of an earlier look, as its report has it."""

    name: str
    is_enough: bool
    is_drift: bool
    reason: str


def features(arrays: Mapping[str, NDArray[Any]], config: PipelineConfig) -> Columns:
    """What is compared: each column, an image by brightness and contrast, and the answers.

    arrays: as rows.to_arrays makes them, and `_answer`. A column that is not there, because the
    pipeline file did not have it then, is left out. Of a date, which moves on by itself, only
    whether it is missing.
    """
    import numpy as np

    found: Columns = {}
    there = {name: column for name, column in rows.observed(config).items() if name in arrays}
    for name, column in there.items():
        values = arrays[name]
        if column.type == "image":
            pixels = tuple(range(1, values.ndim))
            found[f"{name} brightness"] = values.mean(axis=pixels)
            found[f"{name} contrast"] = values.std(axis=pixels)
        elif column.type == "date":
            found[name] = np.where(values == "", np.nan, 0.0)
        else:
            found[name] = values
    answer = arrays["_answer"]
    if config.task == "regression":
        return found | {"answer": answer}
    names = np.array([str(one) for one in config.label.classes])
    return found | {"answer": names[answer.argmax(axis=1)], "confidence": answer.max(axis=1)}


def keep(folder: Path, config: PipelineConfig, splits: Sequence[str], columns: Columns) -> None:
    """Write the reference of these columns, their rows in the order of time, into `folder`."""
    detector = config.monitoring.detector
    count = len(next(iter(columns.values())))
    part = registry.part("detectors", detector.kind)
    params = registry.params("detectors", detector.kind, detector.settings())
    kept = Kept(kind=detector.kind, splits=tuple(splits), rows=count)
    try:
        summary = part.summarise(params, columns)
    except ValueError as error:
        log.warning("drift will not be looked for: %s", error)
        kept = kept.model_copy(update={"obstacle": str(error)})
    else:
        kept = kept.model_copy(update={"summary": summary.model_dump(mode="json")})
    (folder / REFERENCE).write_text(kept.model_dump_json())


@dataclass(frozen=True)
class Reference:
    """A champion's reference; without a summary, `obstacle` says why."""

    detector: ModuleType | None
    summary: Any
    obstacle: str = ""

    @classmethod
    def of(cls, run: Run, champion: Champion | None) -> Reference:
        """Read what evaluate has kept of a champion."""
        if champion is None:
            return cls(None, None, "no model is in production")
        try:
            path = run.open(champion.evaluation) / REFERENCE
        except ArtifactError as error:
            return cls(None, None, f"what version {champion.version} was judged on: {error.what}")
        kind = run.config.monitoring.detector.kind
        kept = Kept.model_validate(read_json(path)) if path.is_file() else None
        if kept is None or kept.kind != kind:
            has = kept.kind if kept else "none"
            return cls(
                None,
                None,
                f"version {champion.version} has no reference for the detector {kind} "
                f"(it has {has}): {run.config.name}__train makes one",
            )
        part = registry.part("detectors", kind)
        if kept.summary is None:
            return cls(part, None, kept.obstacle)
        return cls(part, part.Summary.model_validate(kept.summary))


class Counting:
    """A window's rows, counted batch by batch in the champion's reference; all of them."""

    def __init__(self, run: Run, champion: Champion | None) -> None:
        self._config = run.config
        self._reference = Reference.of(run, champion)
        self._counted: Any = None

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Count these rows; see features."""
        reference = self._reference
        if reference.detector is None or reference.summary is None:
            return
        columns = features(arrays, self._config)
        counted = reference.detector.tally(reference.summary, columns)
        self._counted = counted if self._counted is None else self._counted + counted

    def write(self, folder: Path) -> None:
        """Write counts.json, if there is a reference to count in."""
        if self._counted is not None:
            (folder / COUNTS).write_text(self._counted.model_dump_json())


def findings(run: Run, champion: Champion, window: Path) -> tuple[Sequence[Any], str]:
    """What the detector finds in a window of the champion's, or why it cannot look.

    window: the folder that Counting has written to.
    """
    reference, path = Reference.of(run, champion), window / COUNTS
    if reference.detector is None or reference.summary is None:
        return (), reference.obstacle
    if not path.is_file():
        return (), "the window was collected before there was a reference"
    settings = run.config.monitoring.detector.settings()
    params = registry.params("detectors", run.config.monitoring.detector.kind, settings)
    counted = reference.detector.Window.model_validate(read_json(path))
    return reference.detector.compare(params, reference.summary, counted), ""
