"""Closed segments of predictions become Parquet, by date and version.

<kind>/date=<YYYY-MM-DD>/version=<N>/<segment>.parquet
Its columns are those of Prediction but for the version; `inputs` and `outputs` are structures of
typed columns, or JSON text where the rows of one segment do not have the same types.
"""

from __future__ import annotations

import io
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import orjson

from pipeline_tasks.observations import segments
from pipeline_tasks.observations.segments import Line

log = logging.getLogger(__name__)

TEXTS = ("id", "time", "server", "model", "route", "request_id", "caller")
PARTS = ("inputs", "outputs")
Wanted = Callable[[str, str], bool]
Found = TypeVar("Found")


def rotate(folder: Path) -> int:
    """Compact every closed segment below `folder`; returns how many rows that were.

    A segment is removed once all of its Parquet files are there, and until then they do not count:
    what is killed in between is done again.
    """
    rows = 0
    for path in sorted(folder.glob("*/*.jsonl")):
        with segments.taken(path) as is_closed:
            if is_closed:
                rows += _compact(folder, path)
    return rows


def read(
    folder: Path,
    day: str,
    *,
    since: str,
    until: str,
    ids: Collection[str] | None = None,
    is_keys: bool = False,
) -> Iterator[list[Line]]:
    """The day's rows with since < time <= until, and one of these ids, in chunks of some MiB.

    is_keys: from Parquet only their ids and times.
    """

    def is_wanted(key: str, time: str) -> bool:
        return since < time <= until and (ids is None or key in ids)

    return each(
        folder,
        day,
        "",
        of_segment=lambda path: _of_segment(path, is_wanted),
        of_parquet=lambda path: _of_parquet(path, is_wanted, is_keys),
    )


def each(
    folder: Path,
    day: str,
    since: str,
    *,
    of_segment: Callable[[Path], Iterator[Found]],
    of_parquet: Callable[[Path], Iterator[Found]],
) -> Iterator[Found]:
    """What the readers find in the day's files, each row once; see segments.touched for `since`."""
    raw = sorted((folder / day).glob("*.jsonl"))
    # Listed after the raw ones: what is compacted in between is in one of the two lists.
    packed = sorted((folder / f"date={day}").glob("*/*.parquet"))
    known = {path.stem for path in raw}
    for path in segments.touched(raw, since):
        try:
            yield from of_segment(path)
        except FileNotFoundError:  # it has been compacted since
            for part in (folder / f"date={day}").glob(f"*/{path.stem}.parquet"):
                yield from of_parquet(part)
    for path in segments.touched(packed, since):
        if path.stem not in known:
            yield from of_parquet(path)


def _of_segment(path: Path, is_wanted: Wanted) -> Iterator[list[Line]]:
    for chunk in segments.chunks(path):
        if found := [line for line in chunk if is_wanted(line["id"], line["time"])]:
            yield found


def _of_parquet(path: Path, is_wanted: Wanted, is_keys: bool) -> Iterator[list[Line]]:
    from pyarrow import parquet

    version = int(path.parent.name.removeprefix("version="))
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            keys: list[Line] = file.read_row_group(group, columns=["id", "time"]).to_pylist()
            wanted = [row for row, key in enumerate(keys) if is_wanted(key["id"], key["time"])]
            if wanted and is_keys:
                yield [keys[row] for row in wanted]
            elif wanted:
                rows: list[Line] = file.read_row_group(group).to_pylist()
                yield [_line(rows[row], version) for row in wanted]


def _line(row: Line, version: int) -> Line:
    line = {key: value for key, value in row.items() if value is not None}
    for name in PARTS:
        part = line.get(name, {})
        line[name] = orjson.loads(part) if isinstance(part, str) else part
    return line | {"version": version}


def parsed(path: Path) -> dict[int, Any]:
    """A segment's rows as a table for each version. Raises FileNotFoundError."""
    content = path.read_bytes()
    content = content[: content.rfind(b"\n") + 1]
    tables = _as_written(content) if content else {}
    return _line_by_line(path) if tables is None else tables


def _compact(folder: Path, path: Path) -> int:
    day, rows = folder / f"date={path.parent.name}", 0
    size = path.stat().st_size
    for version, table in parsed(path).items():
        rows_at_once = max(1, segments.CHUNK_BYTES * len(table) // size)
        _write(day / f"version={version}" / f"{path.stem}.parquet", table, rows_at_once)
        rows += len(table)
    path.unlink()
    log.info("compacted %s rows of %s", rows, path)
    return rows


def _as_written(content: bytes) -> dict[int, Any] | None:
    """The table of lines as a server writes them: all of one version, and of the first's types.

    By Arrow's own parser: from Python's values it would be slower, and import pandas. None if the
    lines are not like that.
    """
    import pyarrow as pa
    from pyarrow import compute

    try:
        first = orjson.loads(content[: content.index(b"\n")])
        types = {"version": pa.int64()} | {part: type_of(first[part]) for part in PARTS}
        table = _parsed(content, types, "error")
        versions = compute.min_max(table["version"]).as_py()
    except (ValueError, KeyError, TypeError):  # ArrowInvalid is a ValueError
        return None
    is_whole = not any(table[name].null_count for name in ("id", "time", "version"))
    if not is_whole or versions["min"] != versions["max"]:
        return None
    return {versions["min"]: table.drop_columns(["version"])}


def _line_by_line(path: Path) -> dict[int, Any]:
    """A table for each version of any other segment; what is damaged is left out."""
    versions: dict[int, list[bytes]] = defaultdict(list)
    seen: dict[int, Line] = {}
    for line in chain.from_iterable(segments.chunks(path)):
        version = int(line.get("version", 0))
        _widen(seen.setdefault(version, {}), line)
        versions[version].append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return {version: _mixed(lines, seen[version]) for version, lines in versions.items()}


def _widen(seen: Line, line: Line) -> None:
    """Remember a value of each input and output that tells its type: any but null."""
    for part in PARTS:
        known = seen.setdefault(part, {})
        for name, value in line.get(part, {}).items():
            if known.get(name) is None:
                known[name] = value


def _mixed(lines: Sequence[bytes], seen: Line) -> Any:
    import pyarrow as pa

    try:
        return _parsed(b"".join(lines), {part: type_of(seen[part]) for part in PARTS}, "ignore")
    except pa.ArrowInvalid:
        texts = dict.fromkeys(PARTS, pa.string())
        return _parsed(b"".join(map(_as_text, lines)), texts, "ignore")


def _parsed(content: bytes, types: dict[str, Any], unexpected: str) -> Any:
    import pyarrow as pa
    from pyarrow import json

    numbers = {"sequence": pa.int64(), "latency_ms": pa.float64(), "share": pa.float64()}
    types = dict.fromkeys(TEXTS, pa.string()) | numbers | types
    longest = max(map(len, io.BytesIO(content)))
    table = json.read_json(
        io.BytesIO(content),
        read_options=json.ReadOptions(
            block_size=max(segments.CHUNK_BYTES, 2 * longest), use_threads=False
        ),
        parse_options=json.ParseOptions(
            explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior=unexpected
        ),
    )
    # Parquet has no structures without a column.
    empty = [name for name in PARTS if types[name] == pa.struct([])]
    return table.drop_columns(empty)


def type_of(value: Any) -> Any:
    """The Arrow type of a value, where null is a number that is missing."""
    import pyarrow as pa

    if isinstance(value, dict):
        return pa.struct([(name, type_of(one)) for name, one in value.items()])
    if isinstance(value, list):
        return pa.list_(type_of(next((one for one in value if one is not None), None)))
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, str):
        return pa.string()
    return pa.int64() if isinstance(value, int) else pa.float64()


def _as_text(line: bytes) -> bytes:
    content = orjson.loads(line)
    texts = {name: orjson.dumps(content.get(name, {})).decode() for name in PARTS}
    return orjson.dumps(content | texts, option=orjson.OPT_APPEND_NEWLINE)


def _write(path: Path, table: Any, rows_at_once: int) -> None:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with scratch.open("wb") as file:
        parquet.write_table(table, file, compression="zstd", row_group_size=rows_at_once)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
