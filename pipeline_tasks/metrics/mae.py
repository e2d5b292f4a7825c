"""Mean absolute error, in the label's own unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import mean, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = False
NEEDS = "values"
HAS_UNIT = True


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """The mean of |truth - answer|: Willmott and Matsuura, Climate Research 30 (2005).

    truth, answer: numbers, shape (n,). NaN when there are no rows.

    >>> compute([0, 0, 0, 0], [1, 1, -1, -5])
    2.0
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    return mean(abs(truth.astype(float) - answer), weights)
