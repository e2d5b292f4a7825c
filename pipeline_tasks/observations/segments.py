"""Segments: files of lines that one process appends to until it closes them for good.

<kind>/<YYYY-MM-DD>/<segment>.jsonl   named by the UTC date of the moments in its lines
Its writer holds a lock (flock) on it: one that is not locked is closed and never changes again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger(__name__)

Line = dict[str, Any]

SEGMENT_BYTES = 32 * 2**20
CHUNK_BYTES = 4 * 2**20
STEP_BYTES = 64 * 2**10
SEGMENT_SECONDS = 900.0
SYNC_SECONDS = 1.0
SETTLE_SECONDS = 1.0
SLACK_SECONDS = 300.0  # clocks of several machines may differ
STEP_SECONDS = 60.0  # one machine's clock may be set back


class Writer:
    """Appends lines to `<folder>/<date>/<segment>.jsonl`, each call whole or not at all.

    A new segment each day, 32 MiB and 15 minutes. A line is with the kernel when `append` returns,
    and on the disk a second later, or at once if asked.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._numbers = count()
        self._date = ""
        self._file = -1
        self._size = 0
        self._opened = self._synced = 0.0

    def append(self, moment: str, lines: bytes, *, is_durable: bool = False) -> None:
        """Write whole lines that belong to the day of `moment`.

        Raises OSError when they cannot be kept; then none of them is.
        """
        now = time.monotonic()
        if self._file < 0 or self._is_over(moment[:10], now):
            self.close()
            self._open(moment, now)
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if is_durable or now - self._synced > SYNC_SECONDS:
                os.fdatasync(self._file)
                self._synced = now
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)

    def close(self) -> None:
        """Close the segment for good; the next line opens another."""
        if self._file >= 0:
            with suppress(OSError):
                os.fdatasync(self._file)
            os.close(self._file)
        self._file = -1

    def close_if_old(self) -> bool:
        """Close a segment that nothing more may come for, so that it can be compacted."""
        is_old = time.monotonic() - self._opened > SEGMENT_SECONDS
        if is_old:
            self.close()
        return is_old

    def _is_over(self, date: str, now: float) -> bool:
        is_full = self._size > SEGMENT_BYTES or now - self._opened > SEGMENT_SECONDS
        return is_full or date != self._date or not os.fstat(self._file).st_nlink

    def _open(self, moment: str, now: float) -> None:
        name = f"{moment[11:19].replace(':', '')}-{self._process}-{next(self._numbers)}.jsonl"
        path = self._folder / moment[:10] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{name}.new")  # nobody finds it before it is locked
        self._file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        with suppress(OSError):  # a file system without locks: its segments stay as they are
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        scratch.rename(path)
        self._date, self._size = moment[:10], 0
        self._opened = self._synced = now


def write_whole(folder: Path, moment: str, lines: bytes) -> None:
    """One closed segment with these lines: there as a whole, or not at all."""
    name = f"{moment[11:19].replace(':', '')}-{uuid.uuid4().hex}.jsonl"
    path = folder / moment[:10] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{name}.new")
    try:
        with scratch.open("wb") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Hold a segment's lock; False when its writer, or somebody else, has it, or it is gone."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _is_locked(file) and os.fstat(file).st_nlink > 0
    finally:
        os.close(file)


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def settle(folder: Path) -> None:
    """If somebody is writing below `folder`, wait until what is older than now has arrived."""
    for path in folder.glob("*/*.jsonl"):
        with taken(path) as is_closed:
            if not is_closed:
                time.sleep(SETTLE_SECONDS)
                return


def days(folder: Path, since: str, until: str) -> list[str]:
    """The days that have segments, or their Parquet files, from one moment to another."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else iter(())
    found = {name.removeprefix("date=") for name in names}
    return sorted(day for day in found if since[:10] <= day <= until[:10])


def ending(path: Path, since: str) -> bytes:
    """A segment's whole lines from about `since` on: those of one writer are in order.

    Found by halving the file, so that what is older is not read.
    """
    earliest = _seconds(since) - STEP_SECONDS
    with path.open("rb") as file:
        low, high = 0, path.stat().st_size
        while high - low > STEP_BYTES:
            file.seek((low + high) // 2)
            file.readline()
            place = file.tell()
            if place < high and _moment(file.readline()) < earliest:
                low = place
            else:
                high = (low + high) // 2
        file.seek(low)
        content = file.read()
    return content[: content.rfind(b"\n") + 1]


def touched(paths: Iterable[Path], since: str) -> list[Path]:
    """Those of the files that may have lines with moments after `since`: none is written before."""
    earliest = _seconds(since) - SLACK_SECONDS
    return [path for path in paths if _written(path) >= earliest]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _moment(line: bytes) -> float:
    """Of one line, since 1970; of a damaged one, none is later."""
    try:
        return _seconds(_parsed(line)["time"])
    except (ValueError, TypeError):
        return math.inf


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # it has been compacted since: its reader looks for that
        return math.inf


def chunks(path: Path) -> Iterator[list[Line]]:
    """A segment's whole lines, some MiB at a time; damaged ones are left out, and told in the log.

    The last one may be torn: its writer was killed. Raises FileNotFoundError.
    """
    found: list[Line] = []
    size = damaged = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                found.append(_parsed(line))
            except ValueError:
                damaged += 1
            size += len(line)
            if size > CHUNK_BYTES:
                yield found
                found, size = [], 0
    yield found
    if damaged:
        log.warning("%s: left out %s lines that are no JSON objects", path, damaged)


def _parsed(line: bytes) -> Line:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:  # NaN is none of orjson's
        found = json.loads(line)
    if not isinstance(found, dict) or not {"id", "time"} <= found.keys():
        raise ValueError("a line without id and time")
    return found
