"""Predictions by their ids: which groups of rows can have some, and which of the rows are they."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.core import clock
from pipeline_tasks.observations import END, SLACK, arrow, columns
from pipeline_tasks.observations.columns import Group, Times

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

# The ids that servers give are UUIDs of version 7 (RFC 9562), which begin with milliseconds.
DATED = "^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}"
DIGITS = 8
SPAN = timedelta(milliseconds=16 ** (12 - DIGITS))  # 66 seconds: the ids that begin alike


class Wanted:
    """Ids to look for, all different, an Arrow array: by the span of time in which they were given.

    since: how far back those are looked for that do not tell when they were given.
    """

    def __init__(self, ids: Any, since: str) -> None:
        import numpy as np
        from pyarrow import compute

        self._since = since
        begin = compute.utf8_slice_codeunits(ids, 0, DIGITS)
        is_dated = compute.match_substring_regex(ids, DATED)
        encoded = compute.if_else(is_dated, begin, arrow.text("")).dictionary_encode()
        names = np.array(encoded.dictionary.to_pylist() or [""], dtype=np.str_)
        order = np.argsort(names)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        spans = rank[arrow.numbers(encoded.indices)]
        self._places = np.argsort(spans, kind="stable")
        self._ids = ids.take(arrow.places(self._places))
        self._names: list[str] = names[order].tolist()
        self._ends = np.cumsum(np.bincount(spans, minlength=len(names))).tolist()

    @property
    def earliest(self) -> str:
        """When the first of them may have been answered."""
        return min((since for since, _ in self._times()), default=END)

    def groups(self, folder: Path, until: str) -> Iterator[tuple[Group, Places, Places]]:
        """Groups below `folder` that have some of the ids: places in it, and of the ids."""
        times = [(since, min(end, until)) for since, end in self._times() if since < until]
        for group in columns.groups(folder, times):
            rows, places = self._among(group.keys["id"], group.between("", until))
            if len(places):
                yield group, rows, places

    def _times(self) -> list[Times]:
        """From when to when they may have been answered: times that do not touch."""
        found: list[Times] = []
        for since, end in sorted(map(self._time, self._names)) if len(self._ids) else []:
            if found and since <= found[-1][1]:
                found[-1] = found[-1][0], max(found[-1][1], end)
            else:
                found.append((since, end))
        return found

    def _time(self, name: str) -> Times:
        if not name:
            return self._since, END
        begin = _moment(name)
        return clock.text(begin - SLACK), clock.text(begin + SPAN + SLACK)

    def _among(self, ids: Any, is_there: NDArray[np.bool_]) -> tuple[Places, Places]:
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute

        least = compute.min_max(ids).as_py()
        first = bisect_left(self._names, (least["min"] or "")[:DIGITS])
        last = bisect_right(self._names, (least["max"] or "")[:DIGITS])
        undated = self._ends[0] if self._names[0] == "" and first > 0 else 0
        begin, end = self._begin(first), self._begin(last)
        places = np.concatenate([self._places[:undated], self._places[begin:end]])
        parts = self._ids.slice(0, undated), self._ids.slice(begin, end - begin)
        found = compute.index_in(ids, value_set=pa.chunked_array(parts))
        rows = np.flatnonzero(arrow.numbers(found.is_valid()) & is_there)
        return rows, places[arrow.numbers(found.take(arrow.places(rows)))]

    def _begin(self, place: int) -> int:
        return self._ends[place - 1] if place else 0


def _moment(name: str) -> datetime:
    """When the first of the ids that begin so were given."""
    milliseconds = int(name, 16) * 16 ** (12 - DIGITS)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC) - 2 * (SPAN + SLACK)
