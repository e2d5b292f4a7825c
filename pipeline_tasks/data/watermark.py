"""How far rows have been fetched along a column that only grows: a later fetch goes on there.

Rows with an equal value may arrive after the fetch. So the next one asks for those with the
greatest value once more, and leaves out the ones it knows, by their content.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.values import Frozen

log = logging.getLogger(__name__)

FILE = "watermark.json"


class Watermark(Frozen):
    """What a fetch leaves for the next one.

    origin: which rows of which database. fetched: how many rows each fetch that found some added.
    total: the sum of the rows' digests. seen: the column's greatest value. boundary: the digests
    of the rows that have it, and how often.
    """

    column: str
    origin: dict[str, JsonValue]
    names: list[str]
    fetched: list[int]
    total: str
    seen: JsonValue
    boundary: dict[str, int]

    def write(self, folder: Path) -> None:
        """Keep it beside the rows."""
        (folder / FILE).write_text(self.model_dump_json(indent=1))


def read(folder: Path, origin: dict[str, JsonValue]) -> Watermark | None:
    """What the fetch that filled the folder has left, if one of `origin` can go on from there."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = Watermark.model_validate_json(path.read_bytes())
    except ValidationError:
        log.warning("an earlier version's %s cannot be read: every row is fetched anew", FILE)
        return None
    if found.seen is None:
        return None
    if changed := [name for name in origin if origin[name] != found.origin.get(name)]:
        log.warning("source's %s changed: every row is fetched anew", ", ".join(changed))
        return None
    return found


class Progress:
    """Which rows of a result are new, and what they all are together.

    names: the result's columns. column: the one the rows are ordered by, if any. before: what an
    earlier fetch has left; it is what the rows of this one follow.
    """

    def __init__(self, names: list[str], column: str | None, before: Watermark | None) -> None:
        self.names, self.before, self.without = names, before, 0
        self._column = column
        self._place = names.index(column) if column else None
        self._known = Counter(before.boundary if before else {})
        self._boundary = self._known.copy()
        self._seen = before.seen if before else None
        self._total = int(before.total, 16) if before else 0

    def new(self, rows: Iterable[list[Any]]) -> list[list[Any]]:
        """Those of the rows that are not known; without those that have no watermark yet."""
        return [row for row in rows if self._is_new(row)]

    def digest(self) -> str:
        """Of all rows until now, those of earlier fetches included, whatever their order."""
        return digest_of_text(f"{self.names} {self._total}")

    def watermark(self, origin: dict[str, JsonValue], count: int) -> Watermark:
        """What the next fetch needs to know, after this one has found `count` new rows."""
        return Watermark(
            column=self._column or "",
            origin=origin,
            names=self.names,
            fetched=[*(self.before.fetched if self.before else []), *([count] if count else [])],
            total=f"{self._total:x}",
            seen=self._seen,
            boundary=dict(sorted(self._boundary.items())),
        )

    def _is_new(self, row: list[Any]) -> bool:
        digest = hashlib.sha256(repr(row).encode()).hexdigest()
        if self._place is not None:
            if row[self._place] is None:
                self.without += 1
                return False
            if self._known[digest]:
                self._known[digest] -= 1
                return False
            self._note(row[self._place], digest)
        self._total += int(digest, 16)
        return True

    def _note(self, mark: Any, digest: str) -> None:
        if isinstance(mark, bytes):
            raise DataError(
                f"the watermark {self._column} has the bytes {mark!r:.80}",
                expected="a number, a text, a date or a moment",
                fix="name another column, or make it a number in source.query",
            )
        if mark != self._seen:
            self._seen = mark
            self._boundary.clear()
        self._boundary[digest] += 1
