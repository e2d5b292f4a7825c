"""A CSV file with a header line, in UTF-8; `${NAME}` in its path is an environment variable."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.fingerprint import digest_of_file
from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

FILE = "rows.csv"
HEADER_LINES = 1
SHOWN = 10


class Params(Frozen):
    """Where the file is and how it is written."""

    path: str
    separator: str = Field(",", min_length=1, max_length=1)
    missing: tuple[str, ...] = Field(
        (), description="Texts that mean: no value, beside an empty one."
    )


def digest(params: Params) -> str:
    """The digest of the file's content: the same rows under another name are the same rows."""
    return digest_of_file(_path(params))


def fetch(params: Params, folder: Path) -> None:
    """Keep the file as it is."""
    shutil.copyfile(_path(params), folder / FILE)


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The file's declared columns, parsed with their declared types.

    Raises DataError that names the file, line, column and value when it cannot be.
    """
    import pandas as pd

    path = folder / FILE
    header = _header(params, path)
    _check_header(params, header, config)
    try:
        frame = pd.read_csv(
            path,
            sep=params.separator,
            dtype=_types(config),
            na_values=list(params.missing),
            encoding="utf-8-sig",
        )
    except pd.errors.ParserError as error:
        raise _too_many_fields(params, header, str(error)) from error
    except ValueError as error:
        raise _unparsable(params, path, config) from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise _too_many_fields(params, header, "every line has more fields than the header")
    _check_end(params, path, header)
    if frame.empty:
        raise _empty(params, "no row below the header line")
    return frame[[*config.columns, config.label.name]]


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0)."""
    return f"{params.path} line {row + HEADER_LINES + 1}"


def _path(params: Params) -> Path:
    path = Path(os.path.expandvars(params.path))
    if path.is_file():
        return path
    raise DataError(
        f"{path}: there is no such file",
        expected="a CSV file",
        fix="put the file there, or change source.path in the pipeline file",
    )


def _types(config: PipelineConfig) -> dict[str, str]:
    types = {
        name: "float64" if column.type == "number" else "str"
        for name, column in config.columns.items()
    }
    return types | {config.label.name: "float64" if _is_numbered(config) else "str"}


def _is_numbered(config: PipelineConfig) -> bool:
    return config.task == "regression" or isinstance(config.label.classes[0], int)


def _header(params: Params, path: Path) -> list[str]:
    import csv

    _check_encoding(params, path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file, delimiter=params.separator), [])
    if not any(header):
        raise _empty(params, "no header line")
    return header


def _check_encoding(params: Params, path: Path) -> None:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                wrong = line[error.start : error.start + 8]
                raise DataError(
                    f"{params.path} line {number}: not UTF-8 at byte {error.start + 1}: {wrong!r}",
                    expected="text in UTF-8",
                    fix="convert the file: iconv -f latin1 -t utf-8",
                ) from error


def _check_header(params: Params, header: list[str], config: PipelineConfig) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in [*config.columns, config.label.name] if name not in header]
    if missing or repeated:
        problem = f"no column {', '.join(missing)}" if missing else f"column {repeated[0]} twice"
        raise DataError(
            f"{params.path} line 1: {problem}; the header says {', '.join(header)}",
            expected=f"each of {', '.join([*config.columns, config.label.name])} once",
            fix="mend the source, or the pipeline file's columns if the change is meant to last",
        )


def _check_end(params: Params, path: Path, header: list[str]) -> None:
    import csv

    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        lines = file.read().rstrip(b"\r\n").splitlines()
    last = next(csv.reader([lines[-1].decode("utf-8")], delimiter=params.separator))
    if len(last) < len(header) and len(lines) > 1:
        with path.open("rb") as file:
            number = sum(1 for _ in file)
        raise DataError(
            f"{params.path} line {number}: the last line ends after {len(last)} of {len(header)} "
            f"fields, at {last[-1]!r} in column {header[len(last) - 1]}",
            expected="a whole line: the file was probably cut while it was written or copied",
            fix="fetch the file again, or remove its last line",
        )


def _empty(params: Params, problem: str) -> DataError:
    return DataError(
        f"{params.path}: the file is empty: {problem}",
        expected="a header line and at least one row",
        fix="look at what writes this file",
    )


def _too_many_fields(params: Params, header: list[str], problem: str) -> DataError:
    return DataError(
        f"{params.path}: too many fields: {problem}",
        expected=f"{len(header)} fields in every line, as in the header",
        fix="quote fields that hold the separator, or mend the line",
    )


def _unparsable(params: Params, path: Path, config: PipelineConfig) -> DataError:
    import pandas as pd

    text = pd.read_csv(
        path,
        sep=params.separator,
        dtype="str",
        na_values=list(params.missing),
        encoding="utf-8-sig",
    )
    found = []
    for name, kind in _types(config).items():
        wrong = text[name].notna() & pd.to_numeric(text[name], errors="coerce").isna()
        if kind == "float64" and wrong.any():
            found += [
                f"{place(params, int(row))}, column {name}: {text[name][row]!r}"
                for row in text.index[wrong]
            ]
    more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return DataError(
        "text in a numeric column:\n    " + "\n    ".join(found[:SHOWN] + more),
        expected="a number such as 1, -2.5 or 3e4, or nothing",
        fix="mend these values in the source, or declare the column as a category",
    )
