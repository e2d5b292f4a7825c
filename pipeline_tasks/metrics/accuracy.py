"""Share of rows whose predicted class is the true one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import mean, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = True
NEEDS = "labels"
IS_SHARE_OF_RIGHT_ROWS = True


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """Right rows / rows: Metz, Seminars in Nuclear Medicine 8 (1978).

    truth, answer: class indices, shape (n,). NaN when there are no rows.

    >>> compute([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    return mean((truth == answer).astype(float), weights)
