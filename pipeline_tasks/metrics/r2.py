"""Share of the label's variance that the model explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import mean, ratio, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = True
NEEDS = "values"
ROUNDING = 1e-12  # a variance this far below the squares is that of equal numbers


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """1 - squared errors / squared distances from the mean: Wright, Correlation (1921).

    truth, answer: numbers, shape (n,). 0 is as good as the mean, below it worse. NaN when there
    are no rows, or all have the same number.

    >>> compute([1, 2, 3], [1, 2, 4])
    0.5
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    centred = truth.astype(float) - truth.mean(dtype=float)
    square = mean(centred**2, weights)
    variance = square - mean(centred, weights) ** 2
    variance[variance <= ROUNDING * square] = 0.0
    return 1.0 - ratio(mean((truth.astype(float) - answer) ** 2, weights), variance)
