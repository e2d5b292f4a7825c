"""What was logged as arrays, one a column, from Arrow's tables: no object for each row."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import orjson

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.data import rows
from pipeline_tasks.observations import arrow
from pipeline_tasks.sections.settings import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIME, ORDER = "_time_ms", "_order"


class Sample:
    """Rows in the order of their times; of more than `most` a uniform sample of them.

    The same rows are the same sample, whatever the order in which they are added.
    """

    def __init__(self, empty: rows.Arrays, most: int) -> None:
        self._parts, self._most = [empty], most

    def add(self, arrays: rows.Arrays) -> None:
        """Add rows: arrays with TIME and ORDER, see `keys`."""
        self._parts.append(arrays)
        if sum(len(part[ORDER]) for part in self._parts) > 2 * self._most:
            self._parts = [self._thinned()]

    def arrays(self) -> rows.Arrays:
        """The rows, in the order of their times."""
        import numpy as np

        found = self._thinned()
        order = np.lexsort((found[ORDER], found[TIME]))
        return {name: values[order] for name, values in found.items() if name != ORDER}

    def _thinned(self) -> rows.Arrays:
        import numpy as np

        parts = [part for part in self._parts if len(part[ORDER])] or self._parts[:1]
        shared = set.intersection(*(set(part) for part in parts))  # a column may not be sent yet
        whole = {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
            if name in shared
        }
        if len(whole[ORDER]) <= self._most:
            return whole
        # The first of all that have the largest number still in it, so that ties do not matter.
        chosen = np.lexsort((whole[TIME], whole[ORDER]))[: self._most]
        return {name: values[chosen] for name, values in whole.items()}


def taken(table: Any, version: int, config: PipelineConfig) -> rows.Arrays:
    """A table's rows: `inputs` by column, `_answer`, and what a sample needs."""
    return inputs(table, config) | {"_answer": answers(table, version, config)} | keys(table)


def keys(table: Any) -> rows.Arrays:
    """`_time_ms`, since 1970 in UTC, and `_order`, by which a sample chooses."""
    import numpy as np
    import pyarrow as pa

    moments = table["time"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
    order = [zlib.crc32(key.encode()) for key in table["id"].to_pylist()]
    return {TIME: arrow.numbers(moments), ORDER: np.array(order, dtype=np.uint32)}


def inputs(table: Any, config: PipelineConfig) -> rows.Arrays:
    """What clients sent, one array a column that is logged, as rows.to_arrays makes them.

    A column that none of them sent, because no model took it yet, is left out.
    """
    sent = _columns(table, "inputs")
    return {
        name: _array(sent[name], column, len(table))
        for name, column in rows.observed(config).items()
        if name in sent
    }


def answers(table: Any, version: int, config: PipelineConfig) -> NDArray[np.float32]:
    """What the model answered: probabilities (n, classes), or values (n,).

    Raises DataError when they answer another question than the pipeline file now asks.
    """
    import numpy as np

    is_number = config.task == "regression"
    name = "value" if is_number else "probabilities"
    shape: tuple[int, ...] = () if is_number else (len(config.label.classes),)
    given = _columns(table, "outputs")
    sizes = _sizes(given[name]) if name in given else np.zeros(len(table), dtype=np.int64)
    wanted = -1 if is_number else prod(shape)
    if len(different := sizes[sizes != wanted]):
        raise DataError(
            f"version {version} answered {', '.join(given)} with {abs(different[0])} {name} a row",
            expected=f"{prod(shape)} for the label {config.label.name} of the pipeline file",
            fix=f"run {config.name}__train, so that a model of this label is in production",
        )
    if not len(table):
        return np.empty((0, *shape), dtype=np.float32)
    return _numbers(given[name], (len(table), *shape))


def empty(config: PipelineConfig) -> rows.Arrays:
    """Arrays of no row, as keys, inputs and answers make them of some."""
    import numpy as np

    shape: tuple[int, ...] = () if config.task == "regression" else (len(config.label.classes),)
    sent = {name: _array([], column, 0) for name, column in rows.observed(config).items()}
    return sent | {
        "_answer": np.empty((0, *shape), dtype=np.float32),
        TIME: np.empty(0, dtype=np.int64),
        ORDER: np.empty(0, dtype=np.uint32),
    }


def floats(table: Any, name: str, default: float) -> NDArray[np.float64]:
    """A column of numbers, with this one where there is none."""
    import numpy as np
    import pyarrow as pa

    if name not in table.column_names:
        return np.full(len(table), default)
    return arrow.numbers(table[name].cast(pa.float64()).fill_null(arrow.number(default)))


def _columns(table: Any, part: str) -> Mapping[str, Any]:
    """Arrow's arrays of `inputs` or `outputs`, by name; lists, where they are kept as JSON text."""
    import pyarrow as pa

    if part not in table.column_names:
        return {}
    values = table[part].combine_chunks()
    if pa.types.is_struct(values.type):
        fields = [field.name for field in values.type]
        return dict(zip(fields, values.flatten(), strict=True))
    parsed = [orjson.loads(text) if text else {} for text in values.to_pylist()]
    names = dict.fromkeys(name for row in parsed for name in row)
    return {name: [row.get(name) for row in parsed] for name in names}


def _array(values: Any, column: Column, count: int) -> NDArray[np.generic]:
    if column.is_text:
        return _texts(values, as_objects=column.type == "text")
    return _numbers(values, (count, *(column.shape or ())))


def _numbers(values: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    import numpy as np
    import pyarrow as pa

    if isinstance(values, list):
        return np.array(values, dtype=np.float32).reshape(shape)
    while pa.types.is_list(values.type):
        values = values.flatten()
    if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
        return np.array(values.to_pylist(), dtype=np.float32).reshape(shape)
    return arrow.numbers(values).astype(np.float32).reshape(shape)


def _texts(values: Any, *, as_objects: bool) -> NDArray[np.generic]:
    """Text by way of what differs in it: as fast as numbers where much is the same."""
    import numpy as np
    import pyarrow as pa

    if not isinstance(values, list) and pa.types.is_string(values.type):
        encoded = values.fill_null(arrow.text("")).dictionary_encode()
        different, codes = encoded.dictionary.to_pylist(), arrow.numbers(encoded.indices)
    else:
        told = values if isinstance(values, list) else values.to_pylist()
        different, codes = told, np.arange(len(told))
    array = np.empty(len(different), dtype=object)
    # A str of NumPy's, even in an array of objects: each of them has `tolist`, as numbers have.
    array[:] = [np.str_(value or "") for value in different]
    found: NDArray[np.generic] = (array if as_objects else array.astype(np.str_))[codes]
    return found


def _sizes(values: Any) -> NDArray[np.int64]:
    """How many numbers each row has; -1 for one that is no list."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(values, list):
        found = [len(one) if isinstance(one, list) else -1 for one in values]
        return np.array(found, dtype=np.int64)
    if not pa.types.is_list(values.type):
        return np.full(len(values), -1)
    lengths = np.nan_to_num(arrow.numbers(compute.list_value_length(values)))
    sizes: NDArray[np.int64] = lengths.astype(np.int64)
    return sizes
