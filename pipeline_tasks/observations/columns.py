"""Logged rows by column, some MiB at a time, and labels: Arrow's tables, no object for each row."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from pipeline_tasks.observations import arrow, rotation, segments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEYS = ("id", "time")
ROWS = (*KEYS, "latency_ms", "share", "inputs", "outputs")
TOLD = (*KEYS, "observed_at")
Times = tuple[str, str]  # since < time <= until


@dataclass(frozen=True)
class Group:
    """Rows of one version: their ids and times, and all their columns when they are asked for."""

    version: int
    keys: Any
    whole: Callable[[], Any]

    def between(self, since: str, until: str) -> NDArray[np.bool_]:
        """Which rows have since < time <= until."""
        return arrow.numbers(_between(self.keys["time"], since, until))


def groups(folder: Path, times: Sequence[Times]) -> Iterator[Group]:
    """Every group below `folder` that may have rows of these times, in the order of the days.

    Files last written before, and groups whose own statistics say that they have none, are not
    read: it costs the rows of those times, not those of the days.
    """
    days: dict[str, str] = {}
    for since, end in times:
        for day in segments.days(folder, since, end):
            days.setdefault(day, since)
    for day, earliest in sorted(days.items()):
        yield from rotation.each(
            folder,
            day,
            earliest,
            of_segment=_of_segment,
            of_parquet=lambda path: _of_parquet(path, times),
        )


def _of_segment(path: Path) -> Iterator[Group]:
    for version, table in rotation.parsed(path).items():
        yield Group(version, table.select(KEYS), partial(table.slice, 0))


def _of_parquet(path: Path, times: Sequence[Times]) -> Iterator[Group]:
    from pyarrow import parquet

    version = int(path.parent.name.removeprefix("version="))
    with parquet.ParquetFile(path) as file:
        names = [name for name in ROWS if name in file.schema_arrow.names]
        place = file.schema.names.index("time")
        for number in range(file.num_row_groups):
            known = file.metadata.row_group(number).column(place).statistics
            if _may_have(known, times):
                yield Group(
                    version,
                    file.read_row_group(number, columns=list(KEYS)),
                    partial(file.read_row_group, number, columns=names),
                )


def _may_have(known: Any, times: Sequence[Times]) -> bool:
    if known is None or not known.has_min_max:
        return True
    return any(known.max > since and known.min <= end for since, end in times)


def labels(folder: Path, values: dict[Any, int], *, since: str, until: str) -> Any:
    """Labels that arrived with since < time <= until, as a table of one row a label.

    Its columns: id, time, observed_at ("" where it was not told), and label: the number of what it
    says among `values`, to which what is new is added. In the order of the files' names, and in a
    file of its lines.
    """
    import pyarrow as pa

    texts = {name: pa.nulls(0, pa.string()) for name in TOLD}
    found = [pa.table(texts | {"label": pa.nulls(0, pa.int64())})]
    for day in segments.days(folder, since, until):
        for path in segments.touched(sorted((folder / day).glob("*.jsonl")), since):
            table = _told(path, values, since)
            found.append(table.filter(_between(table["time"], since, until)))
    return pa.concat_tables(found)


def _between(times: Any, since: str, until: str) -> Any:
    from pyarrow import compute

    is_after = compute.greater(times, arrow.text(since))
    return compute.and_(is_after, compute.less_equal(times, arrow.text(until)))


def _told(path: Path, values: dict[Any, int], since: str) -> Any:
    """A segment's labels from about `since` on. Of what is damaged, or of several types, all."""
    import numpy as np
    import pyarrow as pa

    content = segments.ending(path, since)
    try:
        first = orjson.loads(content[: content.index(b"\n")])
        table = _parsed(content, rotation.type_of(first["label"]))
    except (ValueError, KeyError, TypeError):  # ArrowInvalid is a ValueError
        table = _parsed(_renumbered(path, values), pa.int64())
        label = table["label"]
    else:
        encoded = table["label"].combine_chunks().dictionary_encode()
        told = encoded.dictionary.to_pylist()
        codes = np.array([_code(one, values) for one in told], dtype=np.int64)
        label = arrow.places(codes[arrow.numbers(encoded.indices)])
    texts = {name: table[name].fill_null(arrow.text("")) for name in TOLD}
    return pa.table(texts | {"label": label})


def _renumbered(path: Path, values: dict[Any, int]) -> bytes:
    """A segment's lines with the numbers of their labels among the values."""
    lines = [line for line in chain.from_iterable(segments.chunks(path)) if "label" in line]
    kept = [
        {name: line.get(name) for name in TOLD} | {"label": _code(line["label"], values)}
        for line in lines
    ]
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in kept)


def _code(value: Any, values: dict[Any, int]) -> int:
    return values.setdefault(value, len(values))


def _parsed(content: bytes, label: Any) -> Any:
    import pyarrow as pa
    from pyarrow import json

    schema = pa.schema([(name, pa.string()) for name in TOLD] + [("label", label)])
    if not content:
        return pa.table([pa.nulls(0, one.type) for one in schema], schema=schema)
    table = json.read_json(
        io.BytesIO(content),
        read_options=json.ReadOptions(block_size=segments.CHUNK_BYTES, use_threads=False),
        parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    if any(table[name].null_count for name in (*KEYS, "label")):
        raise ValueError("a line without id, time or label")
    return table
