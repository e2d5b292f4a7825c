"""Which lines of a CSV file its rows are in, and how many rows there are."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from pipeline_tasks.core.errors import DataError

HEADER_LINES = 1
CHUNK_BYTES = 1 << 22


@contextmanager
def opened(path: Path, title: object) -> Iterator[IO[bytes]]:
    """The file's content, unpacked. Raises DataError where it cannot be."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(IO[bytes], file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{title}: cannot be unpacked: {error}",
            expected="a whole file in gzip format, as its name ends in .gz",
            fix="fetch the file again, or rename it if it is not packed",
        ) from error


def count(path: Path, separator: str) -> int | None:
    """How many rows are below the header; None where the file is no text.

    Where no row goes over several lines, lines are counted, which costs next to nothing.
    """
    with opened(path, path) as file:
        lines = _lines(file, separator)
    if lines is not None:
        return max(0, lines - HEADER_LINES)
    try:
        return len(begins(path, path.stat().st_mtime_ns, separator))
    except (ValueError, csv.Error):
        return None  # the check says where


@lru_cache(maxsize=16)
def begins(path: Path, _: int, separator: str) -> array[int]:
    """The line that each row begins in; a row may have several, and blank ones count too.

    _: when the file was changed, so that another one is read again.
    """
    found, begins = array("q"), 1
    with opened(path, path) as content:
        text = io.TextIOWrapper(content, "utf-8-sig", newline="")
        reader = csv.reader(text, delimiter=separator)
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                found.append(begins)
            begins = reader.line_num + 1
    return found[HEADER_LINES:]


def _lines(file: IO[bytes], separator: str) -> int | None:
    """The lines that are not blank; None where one of them may not be a whole row."""
    space = b" \t".replace(separator.encode(), b"")
    found, rest = 0, b""
    while chunk := file.read(CHUNK_BYTES):
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        lines = b"\n" + whole + end
        if not _is_plain(lines):
            return None
        found += lines.count(b"\n") - 1 - _blank(lines, space)
    return found + bool(rest.strip(space + b"\r")) if _is_plain(rest + b"\n") else None


def _blank(lines: bytes, space: bytes) -> int:
    """How many lines after the first hold nothing but white space."""
    if not re.search(rb"\n[\n\r" + space + rb"]", lines):  # so it is mostly, and this is quicker
        return 0
    return len(re.findall(rb"\n[" + space + rb"]*\r?(?=\n)", lines))


def _is_plain(lines: bytes) -> bool:
    """No line ends within quotes, or without a line feed."""
    if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
        return False
    if b'"' not in lines:
        return True
    return not any(line.count(b'"') % 2 for line in lines.split(b"\n"))
