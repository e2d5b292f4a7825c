"""Tables as sources have them, made into the types that the pipeline file declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from math import prod
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError, EmptyError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SHOWN = 10
ABSENT = object()
MEND = "mend the source, or the pipeline file's columns if the change is meant to last"
EXPECTED = {
    "text in a numeric column": "a number such as 1, -2.5 or 3e4, or nothing",
    "what is no text in a column of text": "text or nothing; numbers are text in a column of "
    "`type: category` only",
}
Place = Callable[[int], str]


def kinds(config: PipelineConfig) -> dict[str, str]:
    """What each frame column holds, the label last: "number", "pixel" or "text".

    The label is a number where the pipeline answers a number, or its classes are numbers.
    """
    found: dict[str, str] = {}
    for name, column in config.columns.items():
        if column.type == "image":
            found |= {f"{name}[{index}]": "pixel" for index in range(prod(column.shape or ()))}
        else:
            found[name] = "number" if column.type == "number" else "text"
    return found | {config.label.name: "number" if _is_numbered(config) else "text"}


def _is_numbered(config: PipelineConfig) -> bool:
    return config.task == "regression" or isinstance(config.label.classes[0], int)


def undeclared(names: Iterable[str], config: PipelineConfig) -> list[str]:
    """Those of a table's names that the pipeline file does not declare."""
    declared = kinds(config)
    return [name for name in names if name not in declared]


def check_names(names: Sequence[str], config: PipelineConfig, where: str) -> None:
    """Raise DataError unless every declared column is among a table's names, once."""
    declared = list(kinds(config))
    repeated = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in declared if name not in set(names)]
    if missing or repeated:
        problem = f"no column {_some(missing)}" if missing else f"column {repeated[0]} twice"
        raise DataError(
            f"{where}: {problem}; there is {_some(names)}",
            expected=f"each of {_some(declared)} once",
            fix=MEND,
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2 * SHOWN} more" if len(names) > 2 * SHOWN else ""
    return ", ".join(names[: 2 * SHOWN]) + more


def typed(table: pd.DataFrame, config: PipelineConfig, place: Place) -> pd.DataFrame:
    """The declared columns of a table in their declared types, whatever types they have in it.

    number: float64; pixel: float32; text: str, dates written out, and numbers as well unless the
    column is of `type: text`, where they are a mistake; missing: NaN. A label that is a number is
    float64, and int64 where it is a class and every one is whole. An empty text is a missing value.
    The index must be 0 to n-1.
    Raises DataError with the place, column and value of what cannot be one of these types.
    """
    import pandas as pd

    parts: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {what: [] for what in EXPECTED}
    of_numbers, of_texts = wrong.values()
    for name, kind in kinds(config).items():
        values = table[name]
        column = config.columns.get(name)
        written = _prose if column is not None and column.type == "text" else _text
        found = _texts(values, written) if kind == "text" else _numbers(values)
        for row in map(int, _lost(values, found)):
            told = of_texts if kind == "text" else of_numbers
            told.append(f"{place(row)}, column {name}: {values[row]!r}")
        parts[name] = found.astype("float32") if kind == "pixel" else found
    _refuse(wrong)
    label = config.label.name
    if config.task != "regression" and _is_numbered(config) and (parts[label] % 1 == 0).all():
        parts[label] = parts[label].astype("int64")
    return pd.DataFrame(parts, copy=False)


def _refuse(wrong: Mapping[str, Sequence[str]]) -> None:
    for what, told in wrong.items():
        if told:
            more = [f"... and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
            raise DataError(
                "\n    ".join([f"{what}:", *told[:SHOWN], *more]),
                expected=EXPECTED[what],
                fix="mend these values in the source, or the column's type in the pipeline file",
            )


def _lost(values: pd.Series[Any], found: pd.Series[Any]) -> NDArray[np.intp]:
    import numpy as np

    lost = (values.notna() & found.isna()).to_numpy(dtype=bool)
    rows = np.flatnonzero(lost)
    if len(rows):
        blank = [isinstance(values[row], str) and not values[row].strip() for row in rows]
        rows = rows[~np.array(blank)]
    return rows


def _numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values):
        values = pd.to_numeric(values.astype(object).map(_number), errors="coerce")
    numbers = values.to_numpy(dtype="float64", na_value=float("nan"))
    return pd.Series(numbers, index=values.index, copy=False)


def _number(value: Any) -> Any:
    """What pandas reads as a number; None for what is no number, whatever pandas thinks of it."""
    if isinstance(value, Decimal):
        return float(value)
    return value if isinstance(value, str | int | float) else None


def _texts(values: pd.Series[Any], written: Callable[[Any], str | None]) -> pd.Series[Any]:
    import pandas as pd

    if not (isinstance(values.dtype, pd.StringDtype) or values.dtype == "string[pyarrow]"):
        values = values.astype(object).map(written, na_action="ignore")
    texts = values.astype("str")
    return texts.mask(texts == "")


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | time):  # a moment is a date too
        return value.isoformat()
    return str(value) if isinstance(value, str | int | float | Decimal) else None


def _prose(value: Any) -> str | None:
    return None if isinstance(value, int | float | Decimal) else _text(value)


def of_records(
    records: Iterable[Mapping[str, JsonValue]],
    config: PipelineConfig,
    *,
    fields: Mapping[str, str],
    place: Place,
) -> pd.DataFrame:
    """JSON objects as a frame. fields: the dotted path of a column that is not its own name.

    A record may lack what others have: that is a missing value. Raises DataError for a column
    that no record has, and as `typed` does.
    """
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in kinds(config)}
    absent, keys = set(columns), dict[str, None]()
    for record in records:
        keys |= dict.fromkeys(record)
        for name, values in columns.items():
            value = dig(record, fields.get(name, name))
            values.append(None if value is ABSENT else value)
            if value is not ABSENT:
                absent.discard(name)
    if not keys:
        raise empty(place(0), "no record")
    if absent:
        paths = [fields.get(name, name) for name in columns if name in absent]
        raise DataError(
            f"{place(0)} and those after it: no record has {_some(paths)}; "
            f"their keys are {_some(list(keys))}",
            expected=f"each of {_some(list(columns))} in some record",
            fix="mend the columns, or what source says about where they are",
        )
    return typed(pd.DataFrame(columns, dtype=object), config, place)


def dig(value: Any, path: str) -> Any:
    """What a dotted path leads to, ABSENT where it leads nowhere.

    >>> dig({"user": {"tags": ["a", "b"]}}, "user.tags.1")
    'b'
    """
    if isinstance(value, Mapping) and path in value:
        return value[path]
    for key in path.split(".") if path else ():
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return ABSENT
    return value


def empty(where: str, problem: str) -> EmptyError:
    """The error about a source without rows."""
    return EmptyError(
        f"{where}: there is nothing: {problem}",
        expected="at least one row",
        fix="look at what fills this source, and at how it is asked",
    )
