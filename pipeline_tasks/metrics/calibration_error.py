"""How far the model's confidence is from its share of right answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import ratio, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = False
NEEDS = "probabilities"

BINS = 15


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """Expected calibration error, 15 bins of equal width: Guo et al., ICML 2017.

    The mean over bins of confidence, weighted by rows, of |right share - mean confidence|.

    truth: class indices, (n,); answer: probabilities, (n, classes). NaN without rows.

    >>> round(compute([0, 0, 0, 1], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]), 4)
    0.15
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    import numpy as np

    confidence = answer.max(axis=1).astype(float)
    excess = confidence - (answer.argmax(axis=1) == truth)
    bins = np.ceil(confidence * BINS).astype(int).clip(1, BINS)
    gaps = [abs(weights[:, bins == one] @ excess[bins == one]) for one in np.unique(bins)]
    return ratio(np.sum(gaps, axis=0), weights.sum(axis=1))
