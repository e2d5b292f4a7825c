"""Parquet files: one, those of a glob, or all in a folder; only declared columns are read."""

from __future__ import annotations

import json
import shutil
from datetime import date, time
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError, PipelineError
from pipeline_tasks.core.fingerprint import digest_of_file, digest_of_text
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import tables
from pipeline_tasks.sources import files

if TYPE_CHECKING:
    import pandas as pd

NAMES = "files.json"
ENDINGS = (".parquet",)


class Params(Frozen):
    """Where the files are.

    source: {kind: parquet, path: "${DATA}/orders/*.parquet"}
    """

    path: str = Field(
        description="A file, a glob, or a folder with all *.parquet files below it, in the order "
        "of their paths. Columns that are only in the names of folders are not read."
    )


def digest(params: Params) -> str:
    """The digest of the files' content, in their order. Reads every byte once."""
    return digest_of_text(" ".join(digest_of_file(path) for path in _paths(params)))


def fetch(params: Params, folder: Path) -> int:
    """Keep the files as they are, with their number, and their names in files.json."""
    paths = _paths(params)
    for index, path in enumerate(paths):
        shutil.copyfile(path, folder / f"rows-{index:05}.parquet")
    (folder / NAMES).write_text(json.dumps([str(path) for path in paths], indent=1))
    return sum(_metadata(path, title).num_rows for path, title in _kept(folder))


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The declared columns in their declared types, one file after the other.

    Numbers in a category are written out, text in a column of numbers is parsed. Raises
    DataError that names the file, row, column and value when that cannot be done.
    """
    import pandas as pd

    parts = [_frame(path, title, config) for path, title in _kept(folder)]
    frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    if frame.empty:
        raise tables.empty(params.path, "no file has a row")
    return frame


def undeclared(params: Params, folder: Path, config: PipelineConfig) -> list[str]:
    """Columns of the files that the pipeline file does not declare."""
    names = (name for path, title in _kept(folder) for name in _schema(path, title).names)
    return tables.undeclared(dict.fromkeys(names), config)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0): the file and the row in it."""
    try:
        paths = _paths(params)
        ends = list(accumulate(_metadata(path, path).num_rows for path in paths))
        for path, begin, end in zip(paths, [0, *ends], ends, strict=False):
            if row < end:
                return f"{path} row {row - begin} (from 0)"
    except (PipelineError, OSError):
        pass  # the files are gone, or are no longer what was fetched
    return f"{params.path} row {row} (from 0)"


def _paths(params: Params) -> list[Path]:
    return files(params.path, ENDINGS, "a Parquet file")


def _kept(folder: Path) -> list[tuple[Path, str]]:
    titles = json.loads((folder / NAMES).read_text())
    return list(zip(kept(folder), titles, strict=True))


def _metadata(path: Path, title: object) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{title}: cannot be read as Parquet: {error}",
            expected="a whole Parquet file",
            fix="write or fetch the file again",
        ) from error


def _schema(path: Path, title: str) -> Any:
    return _metadata(path, title).schema.to_arrow_schema()


def _frame(path: Path, title: str, config: PipelineConfig) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import parquet

    tables.check_names(_schema(path, title).names, config, title)
    try:
        table = parquet.ParquetFile(path).read(columns=list(tables.kinds(config)))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{title}: is damaged: {error}",
            expected="a whole Parquet file",
            fix="write or fetch the file again",
        ) from error
    return of_arrow(table, config, lambda row: f"{title} row {row} (from 0)")


def plain(value: Any) -> Any:
    """What Parquet keeps: a number, a text, or nothing."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value)


def of_arrow(table: Any, config: PipelineConfig, place: tables.Place) -> pd.DataFrame:
    """An Arrow table as a frame; see `tables.typed`. Whole numbers stay whole."""
    import pandas as pd

    return tables.typed(table.to_pandas(types_mapper=pd.ArrowDtype), config, place)


def kept(folder: Path) -> list[Path]:
    """The files that Parts has written, in their order."""
    return sorted(folder.glob("rows-*.parquet"))


def carry(earlier: Path, folder: Path) -> int:
    """Make the files of an earlier folder files of this one, too; how many there are."""
    paths = kept(earlier)
    for path in paths:
        try:
            (folder / path.name).hardlink_to(path)
        except OSError:  # not one file system, or one without links
            shutil.copyfile(path, folder / path.name)
    return len(paths)


class Parts:
    """Parquet files of one chunk after the other; a new one where the types change.

    That happens where a database does not keep to one type in a column, as SQLite may.
    first: the number of the first file; with those before it, there need not be any.
    """

    def __init__(self, folder: Path, names: list[str], first: int = 0) -> None:
        self._folder, self._names, self._count = folder, names, first
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._count:
            self.write([[] for _ in self._names])
        if self._writer is not None:
            self._writer.close()

    def write(self, columns: list[list[Any]]) -> None:
        """Add one chunk: a list of values for each column."""
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table(dict(zip(self._names, map(_array, columns), strict=True)))
        table = table if self._writer is None else _fitted(table, self._writer.schema)
        if self._writer is None or not table.schema.equals(self._writer.schema):
            if self._writer is not None:
                self._writer.close()
            path = self._folder / f"rows-{self._count:05}.parquet"
            self._writer, self._count = parquet.ParquetWriter(path, table.schema), self._count + 1
        self._writer.write_table(table)


def _array(values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values])


def _fitted(table: Any, schema: Any) -> Any:
    """The table with nothing-yet and whole numbers as the types that came before them."""
    import pyarrow as pa

    for index, (ours, known) in enumerate(zip(table.schema, schema, strict=True)):
        is_whole = pa.types.is_integer(ours.type) and pa.types.is_floating(known.type)
        if pa.types.is_null(ours.type) or is_whole:
            table = table.set_column(index, known, table.column(index).cast(known.type, safe=False))
    return table
