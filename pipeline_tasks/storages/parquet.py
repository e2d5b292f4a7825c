"""Parquet files in the store, one for each part: what other tools read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_tasks import storages
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import array_slices, rows


class Params(Frozen):
    """Nothing to set. Missing values are null, images their bytes.

    storage: {kind: parquet}
    """


def keep(params: Params, folder: Path, kept: storages.Kept, run: tuple[str, str]) -> None:
    """Write each part beside its arrays, a slice at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    for name, part in kept.parts.items():
        schema = _schema(part)
        with (
            parquet.ParquetWriter(folder / f"{name}.parquet", schema) as writer,
            array_slices.columns(folder / f"{name}.npz") as columns,
        ):
            for some in array_slices.slices(columns, storages.SLICE_ROWS):
                values = {key: storages.plain(some[key]) for key in schema.names}
                writer.write_table(pa.table(values, schema=schema))


def read(
    params: Params, folder: Path, kept: storages.Kept, part: str, names: Sequence[str]
) -> rows.Arrays:
    """These columns of one part."""
    from pyarrow import parquet

    known, start = kept.parts[part], 0
    arrays = storages.empty(known, names)
    file = parquet.ParquetFile(folder / f"{part}.parquet")
    for batch in file.iter_batches(batch_size=storages.SLICE_ROWS, columns=list(names)):
        for name in names:
            values = storages.array(batch.column(name).to_pylist(), known.columns[name])
            arrays[name][start : start + len(batch)] = values
        start += len(batch)
    return arrays


def _schema(part: storages.Part) -> Any:
    import pyarrow as pa

    types = {"f": pa.float32(), "i": pa.int64(), "U": pa.string(), "O": pa.large_string()}
    fields = [
        (name, pa.binary() if facts.shape else types[facts.letter])
        for name, facts in part.columns.items()
    ]
    return pa.schema(fields)
