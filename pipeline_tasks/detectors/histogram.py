"""Compares histograms over the reference's quantiles: Kolmogorov-Smirnov, and chi-squared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

BINS = 256
EXPECTED_IN_A_CELL = 5


class Params(Frozen):
    """When a difference counts: it must be both significant and large enough to matter."""

    false_alarms: float = Field(
        0.01, gt=0, lt=1, description="Share of undrifted windows that may alarm, all features."
    )
    effect: float = Field(0.1, gt=0, lt=1, description="Least distance between distributions.")
    minimum_rows: int = Field(50, ge=2, description="Rows below which nothing is said.")


class Finding(Frozen):
    """One feature, now against the reference.

    effect: the largest difference of the cumulative shares (numbers), or half the sum of the
    differences of the shares (categories); both from 0 to 1. p_value: of this or more by chance,
    rows taken as independent. threshold: the p-value below which it counts.
    """

    feature: str
    test: str
    rows: int
    effect: float
    p_value: float
    threshold: float
    is_drift: bool
    reference_shares: tuple[float, ...]
    current_shares: tuple[float, ...]
    bins: tuple[str, ...]


def compare(
    params: Params, feature: str, reference: ArrayLike, current: ArrayLike, *, tests: int
) -> Finding:
    """Does `current` come from where `reference` came from? Numbers, or texts.

    tests: how many features are looked at together; the significance is divided among them.
    Missing numbers (NaN) are left out: whether a value is missing is a feature of its own.

    >>> same, shifted = [i / 100 for i in range(100)], [i / 100 + 0.5 for i in range(100)]
    >>> compare(Params(), "x", same, same, tests=1).is_drift
    False
    >>> found = compare(Params(), "x", same, shifted, tests=1)
    >>> found.is_drift, round(found.effect, 2)
    (True, 0.5)
    """
    import numpy as np

    old, new = np.asarray(reference), np.asarray(current)
    if old.dtype.kind == "U":
        test, bins, counts = "chi-squared", *_count_texts(old, new)
        effect = 0.5 * float(np.abs(_shares(counts[0]) - _shares(counts[1])).sum())
        p_value = _chi_squared_p(*counts)
    else:
        old, new = _finite(old), _finite(new)
        test, bins, counts = "Kolmogorov-Smirnov", *_count_numbers(old, new)
        gaps = np.cumsum(_shares(counts[0])) - np.cumsum(_shares(counts[1]))
        effect = float(np.abs(gaps).max())
        p_value = _kolmogorov_p(effect, len(old), len(new))
    threshold = params.false_alarms / tests
    enough = min(len(old), len(new)) >= params.minimum_rows
    return Finding(
        feature=feature,
        test=test,
        rows=len(new),
        effect=effect,
        p_value=p_value,
        threshold=threshold,
        is_drift=enough and p_value < threshold and effect >= params.effect,
        reference_shares=_rounded(_shares(counts[0])),
        current_shares=_rounded(_shares(counts[1])),
        bins=bins,
    )


def _finite(values: NDArray[np.generic]) -> NDArray[np.float64]:
    numbers = values.astype("float64")
    return numbers[abs(numbers) < math.inf]


def _count_numbers(
    old: NDArray[np.float64], new: NDArray[np.float64]
) -> tuple[tuple[str, ...], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    import numpy as np

    if not len(old) or not len(new):
        nothing = np.zeros(1)
        return ("all",), (nothing, nothing)
    edges = np.unique(np.quantile(old, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(float)
        for values in (old, new)
    ]
    bins = (*(f"<= {edge:.6g}" for edge in edges), f"> {edges[-1]:.6g}")
    return bins, (counts[0], counts[1])


def _count_texts(
    old: NDArray[np.generic], new: NDArray[np.generic]
) -> tuple[tuple[str, ...], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    import numpy as np

    names = np.union1d(old, new)
    counts = [
        np.array([(values == name).sum() for name in names], dtype=float) for values in (old, new)
    ]
    return tuple(map(str, names)), (counts[0], counts[1])


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    total = counts.sum()
    return counts / total if total else counts


def _rounded(shares: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(share), 6) for share in shares)


def _kolmogorov_p(distance: float, old: int, new: int) -> float:
    """Stephens' approximation of the two-sample p-value (J. Royal Stat. Soc. B 32, 1970)."""
    if not old or not new:
        return 1.0
    root = math.sqrt(old * new / (old + new))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:
        return 1.0
    signs = ((1.0 if k % 2 else -1.0, k) for k in range(1, 101))
    terms = (sign * math.exp(-2 * k * k * scaled * scaled) for sign, k in signs)
    return min(1.0, max(0.0, 2 * sum(terms)))


def _chi_squared_p(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Pearson's test of a two-row table, rare cells taken together.

    The chi-squared tail is Wilson and Hilferty's normal approximation (PNAS 17, 1931).
    """
    import numpy as np

    share = new.sum() / (old.sum() + new.sum())
    is_rare = np.minimum(share, 1 - share) * (old + new) < EXPECTED_IN_A_CELL
    table = np.array(
        [[*side[~is_rare], side[is_rare].sum()] if is_rare.any() else side for side in (old, new)]
    )
    freedom = table.shape[1] - 1
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    if freedom < 1 or not (expected > 0).all():
        return 1.0
    statistic = float(((table - expected) ** 2 / expected).sum())
    spread = 2 / (9 * freedom)
    z = float(((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))
    return 0.5 * math.erfc(z / math.sqrt(2))
