"""Parquet files: one, those of a glob, or all in a folder; only declared columns are read."""

from __future__ import annotations

import json
import shutil
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipeline_tasks import tables
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError, PipelineError
from pipeline_tasks.core.fingerprint import digest_of_file, digest_of_text
from pipeline_tasks.core.values import Frozen
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


def fetch(params: Params, folder: Path) -> None:
    """Keep the files as they are, with their number, and their names in files.json."""
    paths = _paths(params)
    for index, path in enumerate(paths):
        shutil.copyfile(path, folder / f"rows-{index:05}.parquet")
    (folder / NAMES).write_text(json.dumps([str(path) for path in paths], indent=1))


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The declared columns in their declared types, one file after the other.

    Numbers in a column of text are written out, text in a column of numbers is parsed. Raises
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
    return list(zip(sorted(folder.glob("rows-*.parquet")), titles, strict=True))


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
    return tables.of_arrow(table, config, lambda row: f"{title} row {row} (from 0)")
