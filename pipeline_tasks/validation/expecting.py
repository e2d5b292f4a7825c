"""What production is expected to be like: kept with a model's evaluation, read at every look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.store import read_json
from pipeline_tasks.data import rows
from pipeline_tasks.monitoring import drifting
from pipeline_tasks.validation import charting
from pipeline_tasks.validation.charting import Charts
from pipeline_tasks.validation.estimating import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

ESTIMATE, CHARTS, CUT_BY = "estimate.json", "charts.json", "slices.npz"
# A reference of fewer rows is calibrated as well, but sees less.
ENOUGH_ROWS = 1_000


@dataclass(frozen=True)
class Rows:
    """Rows that the model was not trained on, in the order of time, and its answers to them.

    splits: where they are from. cut_by: sliced columns of training rows, see slices.cut.
    """

    splits: Sequence[str]
    columns: Columns
    truth: NDArray[Any]
    answer: NDArray[Any]
    cut_by: Columns


def write(folder: Path, config: PipelineConfig, found: Rows) -> None:
    """Write drift.json, estimate.json, slices.npz and, of enough rows, charts.json.

    drift.json: the detector's reference. estimate.json: quality by confidence, or by learned
    errors. charts.json: control charts of the error. slices.npz: what cuts slices.
    """
    watched = drifting.features({**found.columns, "_answer": found.answer}, config)
    drifting.keep(folder, config, found.splits, watched)
    estimator = Estimator.learn(watched, found.truth, found.answer)
    (folder / ESTIMATE).write_text(estimator.model_dump_json())
    charts = charting.learn(found.truth, found.answer)
    if charts is not None:
        (folder / CHARTS).write_text(charts.model_dump_json())
    rows.write_arrays(folder / CUT_BY, found.cut_by)


def estimator(folder: Path) -> Estimator | None:
    """What estimates quality; None where the evaluation is older than that."""
    path = folder / ESTIMATE
    return Estimator.model_validate(read_json(path)) if path.is_file() else None


def charts(folder: Path) -> Charts | None:
    """The charts of the error; None where there were too few rows for them."""
    path = folder / CHARTS
    return Charts.model_validate(read_json(path)) if path.is_file() else None


def cut_by(folder: Path) -> rows.Arrays:
    """Columns that cut slices."""
    path = folder / CUT_BY
    return rows.read_arrays(path) if path.is_file() else {}
