"""Parts of the rows that are judged apart: a number's quarters, a category's values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISSING, OTHER = "(missing)", "(other)"
MOST_VALUES = 20
QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Slice:
    """The rows whose column has a value, or one within a range. rows: bool (n,)."""

    column: str
    value: str
    rows: NDArray[np.bool_]


def cut(
    names: Iterable[str], columns: Mapping[str, NDArray[Any]], known: Mapping[str, NDArray[Any]]
) -> Iterator[Slice]:
    """Every slice of the named columns that has a row.

    columns: the rows to cut. known: rows whose quartiles and most frequent values cut them, such as
    those trained on, so that a slice means the same in every split.
    """
    for name in names:
        values, reference = columns[name], known[name]
        of_numbers = values.dtype.kind == "f"
        found = _quarters(values, reference) if of_numbers else _values(values, reference)
        for value, is_there in found:
            if is_there.any():
                yield Slice(name, value, is_there)


def _quarters(
    values: NDArray[Any], reference: NDArray[Any]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    import numpy as np

    given = reference[~np.isnan(reference)].astype(float)
    edges = np.unique(np.quantile(given, QUARTERS)) if given.size else np.zeros(0)
    is_missing = np.isnan(values)
    place = np.searchsorted(edges, values.astype(float), side="left")
    for index in range(len(edges) + 1):
        yield _range(edges.tolist(), index), (place == index) & ~is_missing
    yield MISSING, is_missing


def _range(edges: list[float], index: int) -> str:
    """The name of a range; each has its upper end.

    >>> [_range([1.0, 2.5], index) for index in range(3)]
    ['up to 1', 'above 1 up to 2.5', 'above 2.5']
    """
    if not edges:
        return "any"
    above = f"above {edges[index - 1]:.4g}" if index else ""
    up_to = f"up to {edges[index]:.4g}" if index < len(edges) else ""
    return f"{above} {up_to}".strip()


def _values(
    values: NDArray[Any], reference: NDArray[Any]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    import numpy as np

    found, counts = np.unique(reference[reference != ""], return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")][:MOST_VALUES]
    for value in sorted(frequent.tolist()):
        yield str(value), values == value
    is_missing = values == ""
    yield MISSING, is_missing
    yield OTHER, ~np.isin(values, frequent) & ~is_missing
