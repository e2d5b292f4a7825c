"""The rules a pipeline file declares for its columns, and every value that breaks one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.data import rows
from pipeline_tasks.data.statistics import slices
from pipeline_tasks.sections.settings import Column, Label
from pipeline_tasks.transforms import date_parts

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

MEND = "mend the source, or the pipeline file's columns if the change is meant to last"
WORDED = {"not_nullable": "a value", "field_uniqueness": "a value that no other row has"}


class Failure(NamedTuple):
    """One value that breaks a rule; `row` from 0."""

    row: int
    column: str
    value: Any
    rule: str


def check_columns(frame: pd.DataFrame, config: PipelineConfig) -> list[str]:
    """The frame's columns that the pipeline file does not declare, whatever their order.

    Raises DataError that names those it declares and the frame lacks, or has as another type.
    """
    declared = [*rows.frame_columns(config.columns), config.label.name]
    if missing := [name for name in declared if name not in frame.columns]:
        raise DataError(
            f"the source has no column {', '.join(missing)}; it has {', '.join(frame.columns)}",
            expected=f"each of {', '.join(declared)}",
            fix=MEND,
        )
    for key, column in config.columns.items():
        for name in rows.frame_columns({key: column}):
            if _is_text(frame[name]) != column.is_text and frame[name].notna().any():
                raise DataError(
                    f"column {name} holds {frame[name].dtype} values such as "
                    f"{frame[name].dropna().iloc[0]!r}",
                    expected="text" if column.is_text else "numbers",
                    fix=MEND,
                )
    return [name for name in frame.columns if name not in set(declared)]


def failures(
    frame: pd.DataFrame, columns: Mapping[str, Column], label: tuple[str, Label]
) -> list[Failure]:
    """Every value that breaks a rule of its own: type, range, values, pattern, presence."""
    found: list[Failure] = []
    schema = _schema(columns, label)
    for part in slices(frame):
        found += _broken(schema, _view(part, columns, label[0]))
    return found


def repeated(frame: pd.DataFrame, columns: Mapping[str, Column]) -> list[Failure]:
    """Every value that another row has too, in columns that are declared unique."""
    import pandera.pandas as pa

    found: list[Failure] = []
    for name in (name for name, column in columns.items() if column.unique):
        schema = pa.DataFrameSchema({name: pa.Column(unique=True)})
        found += _broken(schema, frame[[name]].dropna())
    return found


def too_many_missing(frame: pd.DataFrame, columns: Mapping[str, Column]) -> list[str]:
    """What to say of each column in which more is missing than its `null_rate` allows."""
    found = []
    for name, column in columns.items():
        share = float(frame[name].isna().mean()) if column.null_rate is not None else 0.0
        if column.null_rate is not None and share > column.null_rate:
            found.append(
                f"column {name}: {share:.2%} of the rows have no value, "
                f"expected {column.null_rate:.2%} at most"
            )
    return found


def _broken(schema: pa.DataFrameSchema, view: pd.DataFrame) -> list[Failure]:
    import pandera.pandas as pa

    try:
        schema.validate(view, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases.dropna(subset=["index"]).sort_values("index", kind="stable")
        found: Iterable[tuple[Any, ...]] = zip(
            cases["index"], cases["column"], cases["failure_case"], cases["check"], strict=True
        )
        return [
            Failure(int(row), str(column), value, WORDED.get(str(check), str(check)))
            for row, column, value, check in found
        ]
    return []


def _is_text(values: pd.Series[Any]) -> bool:
    import pandas as pd

    if values.dtype == object:
        return pd.api.types.infer_dtype(values, skipna=True) == "string"
    return not pd.api.types.is_numeric_dtype(values)


def _view(frame: pd.DataFrame, columns: Mapping[str, Column], label: str) -> pd.DataFrame:
    """The frame with each image as its least and greatest pixel: as telling, and much smaller."""
    import pandas as pd

    parts: dict[str, Any] = {}
    for name, column in columns.items():
        if column.type == "image":
            block = frame[rows.pixels(name, column)].to_numpy()
            parts |= dict(zip(_extremes(name), (block.min(axis=1), block.max(axis=1)), strict=True))
        else:
            parts[name] = frame[name].array
    parts[label] = frame[label].array
    return pd.DataFrame(parts, index=frame.index, copy=False)


def _extremes(name: str) -> tuple[str, str]:
    return f"{name} (least pixel)", f"{name} (greatest pixel)"


def _schema(columns: Mapping[str, Column], label: tuple[str, Label]) -> pa.DataFrameSchema:
    import pandera.pandas as pa

    parts: dict[str, pa.Column] = {}
    for name, column in columns.items():
        names = _extremes(name) if column.type == "image" else (name,)
        parts |= {each: _column_schema(column) for each in names}
    name, rules = label
    return pa.DataFrameSchema(parts | {name: _label_schema(rules)})


def _label_schema(label: Label) -> pa.Column:
    import pandera.pandas as pa

    if label.type == "number":
        finite = pa.Check(_is_finite, error="a finite number")
        return pa.Column(checks=[*_bounds(label), finite], nullable=False)
    classes = list(label.classes)
    return pa.Column(checks=pa.Check.isin(classes, error=f"one of {classes}"), nullable=False)


def _column_schema(column: Column) -> pa.Column:
    import pandera.pandas as pa

    checks = _bounds(column)
    if column.values is not None:
        checks.append(pa.Check.isin(column.values, error=f"one of {list(column.values)}"))
    if column.pattern is not None:
        checks.append(_matches(column.pattern, f"a match of {column.pattern}"))
    if column.type == "date":
        checks.append(_matches(date_parts.DATE, "a date such as 2026-01-31 or 2026-01-31T13:45"))
    if not column.is_text:
        checks.append(pa.Check(_is_finite, error="a finite number"))
    return pa.Column(checks=checks, nullable=column.may_be_missing)


def _bounds(column: Column | Label) -> list[pa.Check]:
    import pandera.pandas as pa

    checks = []
    if column.minimum is not None:
        checks.append(pa.Check.ge(column.minimum, error=f"at least {column.minimum:g}"))
    if column.maximum is not None:
        checks.append(pa.Check.le(column.maximum, error=f"at most {column.maximum:g}"))
    return checks


def _matches(pattern: str, wording: str) -> pa.Check:
    import pandera.pandas as pa

    return pa.Check(lambda values: values.str.fullmatch(pattern), error=wording)


def _is_finite(values: pd.Series[float]) -> pd.Series[bool]:
    return values.abs() != float("inf")
