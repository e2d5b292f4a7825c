"""How far apart two samples are, from their counts by cell: one statistic, and effects in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline_tasks.summaries.cells import Aspect, Cells, Numbers, Texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def taken(aspect: Aspect, counts: NDArray[Any]) -> NDArray[np.float32]:
    """An aspect's counts, (..., cells), out of a column's."""
    import numpy as np

    if all(len(cells) == 1 for cells in aspect.cells):
        first = aspect.cells[0][0]
        return counts[..., first : first + len(aspect.cells)].astype(np.float32)
    parts = [counts[..., list(cells)].sum(axis=-1) for cells in aspect.cells]
    return np.stack(parts, axis=-1).astype(np.float32)


def deviance(
    counts: NDArray[np.float32], reference: NDArray[np.float32], *, is_ordered: bool
) -> NDArray[np.float32]:
    """The deviance, (...), of counts (..., cells) from a reference's (cells,), by row.

    Unordered: of the one cell that deviates most, so that a single value that jumps is seen among
    many. Ordered: of being below each edge, on average; like Anderson and Darling's statistic, and
    honest where few rows are expected (Einmahl and McKeague, Bernoulli 9, 2003).
    """
    import numpy as np

    expected = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    shares = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1.0)
    if is_ordered:
        shares, expected = np.cumsum(shares, axis=-1)[..., :-1], np.cumsum(expected)[:-1]
    if not len(expected):
        return np.zeros(counts.shape[:-1], dtype=np.float32)
    parts = _relative(shares, expected) + _relative(1 - shares, 1 - expected)
    found: NDArray[np.float32] = 2 * (parts.mean(axis=-1) if is_ordered else parts.max(axis=-1))
    return found


def _relative(shares: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    ratio = np.maximum(shares, 1e-12) / np.maximum(expected, 1e-12)
    found: NDArray[np.float32] = np.maximum(shares, 0) * np.log(ratio)
    return found


def effect(
    one: Cells, aspect: Aspect, new: NDArray[np.float32], old: NDArray[np.float32]
) -> tuple[float, str]:
    """How large the difference between two counts is, and in words."""
    if not aspect.is_ordered:
        share = changed(new, old)
        return share, f"{share:.1%} of the {'words' if 'words' in aspect.name else 'rows'}"
    numbers = one.lengths if isinstance(one, Texts) else one
    edges = numbers.edges if isinstance(numbers, Numbers) else ()
    gap, moved = largest_gap(new, old), movement(new, old, edges)
    if moved >= gap:
        return moved, f"{moved:.2f} interquartile ranges"
    return gap, f"{gap:.1%} of the rows, across a value"


def largest_gap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The largest difference between two cumulative shares: Kolmogorov and Smirnov's D."""
    import numpy as np

    return float(np.abs(np.cumsum(_shares(one) - _shares(other))).max())


def movement(one: NDArray[np.float32], other: NDArray[np.float32], edges: Sequence[float]) -> float:
    """The mean distance moved between counts by cell, in the other's interquartile ranges.

    Wasserstein's distance between the first and the last edge; 0 where the quartiles coincide.
    """
    import numpy as np

    if len(edges) < 2:
        return 0.0
    below = np.cumsum(_shares(other))[:-1]
    gaps = np.abs(np.cumsum(_shares(one))[:-1] - below)
    low, high = np.interp((0.25, 0.75), below, edges).tolist()
    if not high > low:
        return 0.0
    moved = ((gaps[1:] + gaps[:-1]) / 2 * np.diff(edges)).sum()
    return float(moved / (high - low))


def changed(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The share of rows that would have to be in another cell: the total variation distance."""
    import numpy as np

    return 0.5 * float(np.abs(_shares(one) - _shares(other)).sum())


def _shares(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    return counts / max(float(counts.sum()), 1.0)
