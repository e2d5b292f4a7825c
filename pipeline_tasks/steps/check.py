"""Clean, part one: nothing is trained on rows that break the declared schema."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks import observations, rows
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run, step
from pipeline_tasks.settings import Column, Label

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

log = logging.getLogger(__name__)

SHOWN = 20


@step(reads=("source", "columns", "label"))
def check(run: Run, raw: Ref) -> Ref:
    """Parse the rows and stop if one of them breaks the schema declared in the pipeline file.

    Writes the artifact `checked`: rows.parquet, observations.parquet when there are labelled
    observations (those that break the schema are left out and counted), and statistics.json.
    Raises DataError with the file, row, column and value of what is wrong.
    """
    folder = run.open(raw)
    frame = _source_rows(run.config, folder)
    seen, refused = _observed_rows(run.config, folder / observations.JOINED)
    with run.write("checked") as draft:
        frame.to_parquet(draft.folder / "rows.parquet", index=False)
        if len(seen):
            seen.to_parquet(draft.folder / "observations.parquet", index=False)
        statistics = _statistics(frame, run.config)
        (draft.folder / "statistics.json").write_text(json.dumps(statistics, indent=1))
        draft.summary |= {
            "rows": len(frame),
            "observations": len(seen),
            "observations_refused": refused,
        }
    return draft.done()


def _source_rows(config: PipelineConfig, folder: Path) -> pd.DataFrame:
    source = config.source
    part = registry.part("sources", source.kind)
    params = registry.params("sources", source.kind, source.settings())
    frame: pd.DataFrame = part.read(params, folder, config)
    failures = _failures(frame, config)
    if len(failures):
        lines = [
            f"{part.place(params, row)}, column {column}: {value!r}, expected {rule}"
            for row, column, value, rule in failures[:SHOWN]
        ]
        more = [f"... and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
        raise DataError(
            f"{len(failures)} values break the declared schema:\n    "
            + "\n    ".join(lines + more),
            fix="mend the source, or the pipeline file's columns if the change is meant to last",
        )
    _check_label(frame, config)
    return frame


def _observed_rows(config: PipelineConfig, path: Path) -> tuple[pd.DataFrame, int]:
    found = observations.read_joined(path)
    frame = rows.from_observations(found, config)
    wrong = sorted({row for row, *_ in _failures(frame, config)})
    if wrong:
        log.warning("left out %s of %s observations that break the schema", len(wrong), len(frame))
    return frame.drop(index=wrong), len(wrong)


def _failures(frame: pd.DataFrame, config: PipelineConfig) -> list[tuple[int, str, object, str]]:
    """(row from 0, column, value, rule) for every value that breaks the schema."""
    import pandera.pandas as pa

    view = _view(frame, config)
    try:
        _schema(config).validate(view, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.dropna(subset=["index"]).sort_values("index", kind="stable")
        return [
            (int(index), str(column), value, _rule(str(check)))
            for index, column, value, check in zip(
                cases["index"], cases["column"], cases["failure_case"], cases["check"], strict=True
            )
        ]
    return []


def _view(frame: pd.DataFrame, config: PipelineConfig) -> pd.DataFrame:
    """The frame with each image as its least and greatest pixel: as telling, and much smaller."""
    import pandas as pd

    parts = {}
    for name, column in config.columns.items():
        if column.type == "image":
            block = frame[rows.pixels(name, column)].to_numpy()
            parts[f"{name} (least pixel)"] = block.min(axis=1)
            parts[f"{name} (greatest pixel)"] = block.max(axis=1)
        else:
            parts[name] = frame[name].to_numpy()
    parts[config.label.name] = frame[config.label.name].to_numpy()
    return pd.DataFrame(parts)


def _schema(config: PipelineConfig) -> pa.DataFrameSchema:
    import pandera.pandas as pa

    parts = {}
    for name, column in config.columns.items():
        if column.type == "image":
            parts[f"{name} (least pixel)"] = _column_schema(column)
            parts[f"{name} (greatest pixel)"] = _column_schema(column)
        else:
            parts[name] = _column_schema(column)
    parts[config.label.name] = _label_schema(config.label)
    return pa.DataFrameSchema(parts)


def _label_schema(label: Label) -> pa.Column:
    import pandera.pandas as pa

    if label.type == "number":
        finite = pa.Check(_is_finite, error="a finite number")
        return pa.Column(checks=[*_bounds(label), finite], nullable=False)
    classes = list(label.classes)
    return pa.Column(checks=pa.Check.isin(classes, error=f"one of {classes}"), nullable=False)


def _bounds(column: Column | Label) -> list[pa.Check]:
    import pandera.pandas as pa

    checks = []
    if column.minimum is not None:
        checks.append(pa.Check.ge(column.minimum, error=f"at least {column.minimum:g}"))
    if column.maximum is not None:
        checks.append(pa.Check.le(column.maximum, error=f"at most {column.maximum:g}"))
    return checks


def _column_schema(column: Column) -> pa.Column:
    import pandera.pandas as pa

    checks = _bounds(column)
    if column.values is not None:
        checks.append(pa.Check.isin(column.values, error=f"one of {list(column.values)}"))
    if column.type != "category":
        checks.append(pa.Check(_is_finite, error="a finite number"))
    return pa.Column(checks=checks, nullable=column.nullable)


def _is_finite(values: pd.Series) -> pd.Series:
    return values.abs() != float("inf")


def _rule(check: str) -> str:
    return "a value" if check == "not_nullable" else check


def _check_label(frame: pd.DataFrame, config: PipelineConfig) -> None:
    name = config.label.name
    found = frame[name].unique()
    if len(found) < 2:
        raise DataError(
            f"label column {name}: every one of the {len(frame)} rows is {found[0]!r}",
            expected=f"at least two of the classes {list(config.label.classes)}"
            if config.label.classes
            else "numbers that differ",
            fix="look at how the source chooses its rows: nothing can be learned from one answer",
        )


def _statistics(frame: pd.DataFrame, config: PipelineConfig) -> dict[str, dict[str, float]]:
    numbers = [name for name, column in config.columns.items() if column.type == "number"]
    numbers += [config.label.name] if config.task == "regression" else []
    described = {name: _described(frame[name]) for name in numbers}
    if config.task == "regression":
        return described
    shares = frame[config.label.name].value_counts(normalize=True)
    return described | {
        config.label.name: {str(key): float(share) for key, share in shares.items()}
    }


def _described(values: pd.Series[float]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.describe().items()}
