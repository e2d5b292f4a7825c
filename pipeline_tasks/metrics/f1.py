"""Harmonic mean of precision and recall of a class; mean over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import counts, ratio, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = True
NEEDS = "labels"


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """Macro F1: the mean over all classes seen of 2 hits / (rows + predicted).

    Opitz and Burst, arXiv 1911.03347 (2019), their first formula.

    truth, answer: class indices, shape (n,). NaN when there are no rows.

    >>> round(compute([0, 1, 2, 2], [0, 1, 1, 2]), 4)
    0.7778
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    found = counts(truth, answer, weights)
    return found.mean(ratio(2.0 * found.hits, found.true + found.predicted, otherwise=0.0))
