"""Root of the mean squared error, in the label's own unit."""

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
    """The square root of the mean of (truth - answer) squared: Gauss, Theoria motus (1809).

    truth, answer: numbers, shape (n,). NaN when there are no rows.

    >>> compute([0, 0, 0, 0], [1, 1, -1, -5]) == 7**0.5
    True
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    import numpy as np

    root: NDArray[np.float64] = np.sqrt(mean((truth.astype(float) - answer) ** 2, weights))
    return root
