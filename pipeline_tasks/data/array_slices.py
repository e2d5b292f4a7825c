"""An npz file of rows.ArrayWriter, read some rows at a time: they need not all be in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline_tasks.data import rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BYTES = 32 * 2**20


class Column:
    """One array, from its first row on. kind: its dtype; shape: that of one row."""

    def __init__(self, member: IO[bytes]) -> None:
        import numpy as np

        is_old = np.lib.format.read_magic(member) == (1, 0)
        read = (
            np.lib.format.read_array_header_1_0 if is_old else np.lib.format.read_array_header_2_0
        )
        shape, _, self._dtype = read(member)
        self._member = member
        self.rows, self.shape, self.kind = int(shape[0]), tuple(shape[1:]), self._dtype.str
        self.row_bytes = self._dtype.itemsize * prod(self.shape)

    def take(self, count: int) -> NDArray[Any]:
        """The next `count` rows."""
        import numpy as np

        content = self._member.read(count * self.row_bytes)
        return np.frombuffer(content, dtype=self._dtype).reshape(-1, *self.shape)


class Prose:
    """One array of texts, kept as their bytes and where each of them ends."""

    shape: tuple[int, ...] = ()
    kind = "|O"

    def __init__(self, content: Column, ends: Column) -> None:
        self._content, self._ends, self._end = content, ends, 0
        self.rows, self.row_bytes = ends.rows, content.rows // max(ends.rows, 1)

    def take(self, count: int) -> NDArray[Any]:
        """The next `count` texts, as objects."""
        begin, ends = self._end, self._ends.take(count).tolist()
        self._end = ends[-1]
        content = self._content.take(self._end - begin).tobytes()
        return rows.prose(content, [end - begin for end in ends])


@contextmanager
def columns(path: Path) -> Iterator[dict[str, Column | Prose]]:
    """The arrays of a file by name."""
    with zipfile.ZipFile(path) as file:
        names = [info.filename.removesuffix(".npy") for info in file.infolist()]
        found = {name: Column(file.open(f"{name}.npy")) for name in names}
        columns: dict[str, Column | Prose] = {}
        for name, column in found.items():
            if name.endswith(rows.ENDS):
                key = name.removesuffix(rows.ENDS)
                columns[key] = Prose(found[f"{key}{rows.BYTES}"], column)
            elif not name.endswith(rows.BYTES):
                columns[name] = column
        yield columns


def slices(found: Mapping[str, Column | Prose], most_rows: int) -> Iterator[rows.Arrays]:
    """All rows of these columns, so many at a time at most; fewer where they are large."""
    size = sum(column.row_bytes for column in found.values())
    count = max(1, min(most_rows, MOST_BYTES // max(size, 1)))
    left = next(iter(found.values())).rows
    while left:
        taken = min(left, count)
        yield {name: column.take(taken) for name, column in found.items()}
        left -= taken
