"""Cells: what a reference divides a column into, so that any later rows are counted in the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.summaries import fingerprints
from pipeline_tasks.summaries.places import cells_of_places, number_at, places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 32
# The most frequent values have cells of their own; the others that are known share one.
OWN_CELL, KNOWN = 31, 1000
STRETCH = 0.01
WORD = re.compile(r"\w+")


class Placed(NamedTuple):
    """Which cell each of some things is in, and the row it is from; (k,) each."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int64]


class Aspect(NamedTuple):
    """One thing to compare of a column: the shares of these cells among themselves.

    cells: positions; each inner tuple is taken together.
    """

    name: str
    is_ordered: bool
    cells: tuple[tuple[int, ...], ...]


class Numbers(Frozen):
    """Cells between a reference's quantiles, and a last one for what is missing.

    center: is taken off each number, so that its place is as fine as it is near. starts: the place
    at which each cell but the first begins. edges: the same as numbers.
    """

    kind: Literal["number"] = "number"
    center: float = 0.0
    starts: tuple[int, ...] = ()
    edges: tuple[float, ...] = ()

    @classmethod
    def learn(cls, values: NDArray[Any]) -> Numbers:
        """From (m,) numbers, NaN where missing."""
        import numpy as np

        known = values[np.isfinite(values)]
        if not known.size:
            return cls()
        center = float(np.median(known))
        found = np.sort(places(known, center))
        starts = np.unique(found[np.arange(1, BINS) * len(found) // BINS])
        starts = starts[starts > found[0]].tolist()
        edges = tuple(center + number_at(place) for place in starts)
        return cls(center=center, starts=tuple(starts), edges=edges)

    @property
    def size(self) -> int:
        """How many cells."""
        return len(self.starts) + 2

    @property
    def names(self) -> tuple[str, ...]:
        """What is in each cell."""
        ends = [f"{edge:.4g}" for edge in self.edges]
        return (*(f"below {end}" for end in ends), f"from {ends[-1]}" if ends else "any", "missing")

    def count(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """(n,) numbers by cell."""
        import numpy as np

        known = cells_of_places(values, self.center, self.starts)
        return np.append(known, len(values) - known.sum())

    def place(self, values: NDArray[Any], *, is_reference: bool = False) -> Placed:
        """The cell of each of (n,) numbers."""
        import numpy as np

        starts = np.array(self.starts, dtype=np.int64)
        cells = np.searchsorted(starts, places(values, self.center), side="right")
        cells[np.isnan(values)] = self.size - 1
        return Placed(np.arange(len(values)), cells)

    def aspects(self) -> Iterator[Aspect]:
        """How the numbers are distributed, and how many are missing."""
        yield Aspect("values", True, tuple((cell,) for cell in range(self.size - 1)))
        yield _share("missing", self.size - 1, self.size)


class Categories(Frozen):
    """A cell for each of the most frequent values, the other known ones, new ones, and missing.

    values: the known ones, the most frequent first.
    """

    kind: Literal["category"] = "category"
    values: tuple[str, ...] = ()

    @classmethod
    def learn(cls, values: NDArray[Any]) -> Categories:
        """From (m,) texts, "" where missing."""
        return cls(values=_frequent(values.tolist()))

    @property
    def size(self) -> int:
        """How many cells."""
        return min(len(self.values), OWN_CELL) + 3

    @property
    def names(self) -> tuple[str, ...]:
        """What is in each cell."""
        return (*self.values[:OWN_CELL], "others", "new", "missing")

    def count(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """(n,) texts by cell."""
        import numpy as np

        *known, missing = fingerprints.count(np.array([*self.values, ""]), values).tolist()
        own, other = known[:OWN_CELL], sum(known[OWN_CELL:])
        return np.array([*own, other, len(values) - sum(known) - missing, missing])

    def place(self, values: NDArray[Any], *, is_reference: bool = False) -> Placed:
        """The cell of each of (n,) texts.

        is_reference: what was learned from these very rows is known only where it is also found
        far away, so that a reference has as many new values as later rows have of it.
        """
        import numpy as np

        return self.placed(np.arange(len(values)), values.tolist(), is_reference=is_reference)

    def placed(self, rows: NDArray[np.int64], texts: list[str], *, is_reference: bool) -> Placed:
        """The cell of each of (k,) texts in these rows."""
        import numpy as np

        new = self.size - 2
        index = _Index(new, self.values)
        index[""] = new + 1
        if is_reference:
            index |= dict.fromkeys(_passing(rows, texts), new)
        found = map(index.__getitem__, texts)
        return Placed(rows, np.fromiter(found, dtype=np.int64, count=len(texts)))

    def aspects(self) -> Iterator[Aspect]:
        """How often each value is, how many are new, and how many are missing."""
        new = self.size - 2
        yield Aspect("values", False, (*((cell,) for cell in range(new - 1)), (new - 1, new)))
        yield _share("new values", new, new + 1)
        yield _share("missing", new + 1, new + 2)


class Texts(Frozen):
    """Cells for a text's length in characters, and for each of its words as for a category."""

    kind: Literal["text"] = "text"
    lengths: Numbers
    words: Categories

    @classmethod
    def learn(cls, values: NDArray[Any]) -> Texts:
        """From (m,) texts, "" where missing."""
        words = (word for text in values.tolist() for word in _words(text))
        return cls(
            lengths=Numbers.learn(_lengths(values)), words=Categories(values=_frequent(words))
        )

    @property
    def size(self) -> int:
        """How many cells: the lengths', then the words' but the missing one."""
        return self.lengths.size + self.words.size - 1

    @property
    def names(self) -> tuple[str, ...]:
        """What is in each cell."""
        return (*self.lengths.names, *self.words.names[:-1])

    def count(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """(n,) texts by cell, and the words in them."""
        import numpy as np

        return np.bincount(self.place(values).cells, minlength=self.size)

    def place(self, values: NDArray[Any], *, is_reference: bool = False) -> Placed:
        """The cell of each text's length, and of each word."""
        import numpy as np

        words = [_words(text) for text in values.tolist()]
        rows = np.repeat(np.arange(len(values)), [len(one) for one in words])
        flat = [word for one in words for word in one]
        found = self.words.placed(rows, flat, is_reference=is_reference)
        lengths = self.lengths.place(_lengths(values))
        return Placed(
            np.concatenate([lengths.rows, rows]),
            np.concatenate([lengths.cells, found.cells + self.lengths.size]),
        )

    def aspects(self) -> Iterator[Aspect]:
        """Length, missing texts, how often each word is, and the share of new words."""
        lengths, missing = self.lengths.aspects()
        yield lengths._replace(name="length")
        yield missing
        for aspect in list(self.words.aspects())[:2]:
            moved = tuple(
                tuple(cell + self.lengths.size for cell in cells if cell < self.words.size - 1)
                for cells in aspect.cells
            )
            yield aspect._replace(name=aspect.name.replace("values", "words"), cells=moved)


Cells = Annotated[Numbers | Categories | Texts, Field(discriminator="kind")]


def learn(values: NDArray[Any]) -> Numbers | Categories | Texts:
    """The cells of a column: numbers (NaN is missing), str categories, or prose as objects."""
    if values.dtype.kind == "O":
        return Texts.learn(values)
    return Categories.learn(values) if values.dtype.kind == "U" else Numbers.learn(values)


def fits(one: Numbers | Categories | Texts, values: NDArray[Any]) -> bool:
    """Whether a column is of the kind that these cells were learned from."""
    kinds = {"O": Texts, "U": Categories}
    return isinstance(one, kinds.get(values.dtype.kind, Numbers))


class _Index(dict[str, int]):
    """The cell of each known text; `new` of any other."""

    def __init__(self, new: int, known: Iterable[str] = ()) -> None:
        super().__init__({text: min(place, new - 1) for place, text in enumerate(known)})
        self.new = new

    def __missing__(self, text: str) -> int:
        return self.new


def _frequent(texts: Iterable[str]) -> tuple[str, ...]:
    counts: Mapping[str, int] = Counter(texts)
    ordered = sorted((-count, text) for text, count in counts.items() if text)
    return tuple(text for _, text in ordered[:KNOWN])


def _passing(rows: NDArray[np.int64], texts: list[str]) -> Iterator[str]:
    """Texts that are found in one short stretch of the rows alone."""
    first = dict(zip(reversed(texts), reversed(rows.tolist()), strict=True))
    last = dict(zip(texts, rows.tolist(), strict=True))
    apart = int(rows[-1] - rows[0] + 1) * STRETCH if texts else 0
    return (text for text in first if text and last[text] - first[text] < apart)


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _lengths(values: NDArray[Any]) -> NDArray[np.float32]:
    """Characters; NaN where there is no text."""
    import numpy as np

    sizes = np.array([len(text) for text in values.tolist()], dtype=np.float32)
    sizes[sizes == 0] = np.nan
    return sizes


def _share(name: str, cell: int, size: int) -> Aspect:
    """One cell against all up to `size`."""
    return Aspect(name, False, ((cell,), tuple(one for one in range(size) if one != cell)))
