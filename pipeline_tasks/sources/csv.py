"""CSV files with a header line, in UTF-8; `${NAME}` in the path is an environment variable."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import Field

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError, EmptyError, PipelineError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import csv_lines, tables
from pipeline_tasks.sources import files

if TYPE_CHECKING:
    import pandas as pd

NAMES = "files.json"
ENDINGS = (".csv", ".gz")
TYPES = {"number": "float64", "pixel": "float32", "text": "str"}
# In a column of numbers, these can only mean that there is none; in text, each may be a value.
NO_TEXT = ("",)
NO_NUMBER = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")


class Params(Frozen):
    """Where the files are and how they are written.

    source: {kind: csv, path: "${DATA}/2026-*.csv.gz", separator: ";", missing: ["?"]}
    """

    path: str = Field(description="A file, a glob or a folder; files that end in .gz are gzip.")
    separator: str = Field(",", min_length=1, max_length=1)
    missing: tuple[str, ...] = Field(
        (), description="Texts that mean: no value, beside an empty one."
    )


def digest(params: Params) -> str:
    """The digest of the files' content: the same rows under another name are the same rows.

    Reads every byte once.
    """
    found = [_digest(path) for path in _paths(params)]
    return found[0] if len(found) == 1 else digest_of_text(" ".join(found))


def fetch(params: Params, folder: Path) -> int | None:
    """Keep the files as they are: rows.csv, or each of several with its number and files.json."""
    paths, counts = _paths(params), list[int | None]()
    for index, path in enumerate(paths):
        number = f"-{index:05}" if len(paths) > 1 else ""
        packed = ".gz" if path.suffix == ".gz" else ""
        kept = folder / f"rows{number}.csv{packed}"
        shutil.copyfile(path, kept)
        counts.append(csv_lines.count(kept, params.separator))
    if len(paths) > 1:
        (folder / NAMES).write_text(json.dumps([str(path) for path in paths], indent=1))
    known = [one for one in counts if one is not None]
    return sum(known) if len(known) == len(counts) else None


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The files' declared columns, parsed with their declared types, one file after the other.

    Raises DataError that names the file, line, column and value when it cannot be.
    """
    import pandas as pd

    kept = _kept(params, folder)
    headers = [_header(params, file) for file in kept]
    for file, header in zip(kept, headers, strict=True):
        _check_header(file, header, config)
        _check_same(kept[0], headers[0], file, header)
    pairs = zip(kept, headers, strict=True)
    parts = [_frame(params, file, header, config) for file, header in pairs]
    frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    if frame.empty:
        raise _empty(params.path, "no row below the header line")
    return frame[list(tables.kinds(config))]


def undeclared(params: Params, folder: Path, config: PipelineConfig) -> list[str]:
    """Names in the header that the pipeline file does not declare."""
    return tables.undeclared(_header(params, _kept(params, folder)[0]), config)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0): the file, and the line that it begins in."""
    try:
        paths, before = _paths(params), 0
        for path in paths:
            lines = csv_lines.begins(path, path.stat().st_mtime_ns, params.separator)
            if row < before + len(lines):
                shown = params.path if len(paths) == 1 else path
                return f"{shown} line {lines[row - before]}"
            before += len(lines)
    except (PipelineError, OSError, ValueError, EOFError, csv.Error):
        pass  # the file is gone, or is no longer what was fetched
    return f"{params.path} line {row + csv_lines.HEADER_LINES + 1}"


def _paths(params: Params) -> list[Path]:
    return files(params.path, ENDINGS, "a CSV file")


class File(NamedTuple):
    """A kept file, and what a person calls it."""

    path: Path
    title: str


def _kept(params: Params, folder: Path) -> list[File]:
    paths = sorted(folder.glob("rows*.csv*"))
    index = folder / NAMES
    titles = json.loads(index.read_text()) if index.is_file() else [params.path]
    return [File(path, title) for path, title in zip(paths, titles, strict=True)]


def _digest(path: Path) -> str:
    with csv_lines.opened(path, path) as file:
        return file_digest(cast(Any, file), "sha256").hexdigest()


def _header(params: Params, file: File) -> list[str]:
    with csv_lines.opened(file.path, file.title) as content:
        last = _check_encoding(content, file.title)
    with csv_lines.opened(file.path, file.title) as content:
        text = io.TextIOWrapper(content, "utf-8-sig", newline="")
        header = next(csv.reader(text, delimiter=params.separator), [])
    if not any(header):
        raise _empty(file.title, "no header line")
    _check_end(params, file, header, last)
    return header


def _check_encoding(content: IO[bytes], title: str) -> tuple[int, str]:
    """The last line that is not blank, and its number."""
    last = (0, "")
    for number, line in enumerate(content, start=1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            wrong = line[error.start : error.start + 8]
            raise DataError(
                f"{title} line {number}: not UTF-8 at byte {error.start + 1}: {wrong!r}",
                expected="text in UTF-8",
                fix=f"convert the file: iconv -f {'utf-16' if 0 in line else 'latin1'} -t utf-8",
            ) from error
        last = (number, text) if text.strip() else last
    return last


def _check_header(file: File, header: list[str], config: PipelineConfig) -> None:
    declared = list(tables.kinds(config))
    repeated = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in declared if name not in header]
    if missing or repeated:
        problem = f"no column {', '.join(missing)}" if missing else f"column {repeated[0]} twice"
        raise DataError(
            f"{file.title} line 1: {problem}; the header says {', '.join(header)}",
            expected=f"each of {', '.join(declared)} once",
            fix=tables.MEND,
        )


def _check_same(first: File, wanted: list[str], file: File, header: list[str]) -> None:
    if different := sorted({*wanted} ^ {*header}):
        raise DataError(
            f"{file.title} line 1: another header than {first.title}: only one of the two has "
            f"{', '.join(different)}",
            expected=f"the columns {', '.join(wanted)}, in any order",
            fix="mend the file, or let source.path name only files of one kind",
        )


def _check_end(params: Params, file: File, header: list[str], last: tuple[int, str]) -> None:
    number, line = last
    fields = next(csv.reader([line.rpartition("\r")[2]], delimiter=params.separator), [])
    if (
        len(fields) >= len(header)
        or number <= csv_lines.HEADER_LINES
        or _ends_whole(params, file, header)
    ):
        return
    raise DataError(
        f"{file.title} line {number}: the last line ends after {len(fields)} of {len(header)} "
        f"fields, at {fields[-1]!r} in column {header[len(fields) - 1]}",
        expected="a whole line: the file was probably cut while it was written or copied",
        fix="fetch the file again, or remove its last line",
    )


def _ends_whole(params: Params, file: File, header: list[str]) -> bool:
    """The last row has every field after all: the line breaks within quotes were its own."""
    with csv_lines.opened(file.path, file.title) as content:
        text = io.TextIOWrapper(content, "utf-8-sig", newline="")
        row: list[str] = []
        for fields in csv.reader(text, delimiter=params.separator):
            row = fields or row
    return len(row) >= len(header)


def _frame(params: Params, file: File, header: list[str], config: PipelineConfig) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = _parsed(params, file, config, TYPES)
    except pd.errors.ParserError as error:
        raise _too_many_fields(file, header, str(error).strip()) from error
    except ValueError:
        text = _parsed(params, file, config, dict.fromkeys(TYPES, "str"))
        return tables.typed(text, config, _place_in(params, file))
    if not isinstance(frame.index, pd.RangeIndex):
        raise _too_many_fields(file, header, "every line has more fields than the header")
    return frame


def _parsed(
    params: Params, file: File, config: PipelineConfig, types: Mapping[str, str]
) -> pd.DataFrame:
    import pandas as pd

    kinds = tables.kinds(config)
    nothing = {name: list(NO_TEXT if kind == "text" else NO_NUMBER) for name, kind in kinds.items()}
    return pd.read_csv(
        file.path,
        sep=params.separator,
        dtype=cast(Any, {name: types[kind] for name, kind in kinds.items()}),
        na_values={name: [*texts, *params.missing] for name, texts in nothing.items()},
        keep_default_na=False,
        encoding="utf-8-sig",
    )


def _place_in(params: Params, file: File) -> tables.Place:
    lines = csv_lines.begins(file.path, file.path.stat().st_mtime_ns, params.separator)
    return lambda row: f"{file.title} line {lines[row]}"


def _empty(title: str, problem: str) -> EmptyError:
    return EmptyError(
        f"{title}: the file is empty: {problem}",
        expected="a header line and at least one row",
        fix="look at what writes this file",
    )


def _too_many_fields(file: File, header: list[str], problem: str) -> DataError:
    return DataError(
        f"{file.title}: too many fields: {problem}",
        expected=f"{len(header)} fields in every line, as in the header",
        fix="quote fields that hold the separator, or mend the line",
    )
