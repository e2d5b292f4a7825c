"""Squared distance of the probabilities from the truth, a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import mean, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = False
NEEDS = "probabilities"


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """The mean over rows of the sum over classes of (probability - truth) squared.

    Brier, Monthly Weather Review 78 (1950); of two classes half of it, which is the second one's
    alone.

    truth: class indices, (n,); answer: probabilities, (n, classes). NaN without rows.

    >>> round(compute([0, 1], [[0.5, 0.5], [0.2, 0.8]]), 4)
    0.145
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    import numpy as np

    distance = answer.astype(float)
    distance[np.arange(len(truth)), truth.astype(int)] -= 1.0
    classes = answer.shape[1]
    return mean((distance**2).sum(axis=1) / (2 if classes == 2 else 1), weights)
