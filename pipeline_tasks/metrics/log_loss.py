"""How surprised the model is by the truth, in nats a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import mean, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = False
NEEDS = "probabilities"


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """The mean of -log(probability of the true class): Good, JRSS B 14 (1952).

    Probabilities are kept away from 0 by the least step of their type.

    truth: class indices, (n,); answer: probabilities, (n, classes). NaN without rows.

    >>> round(compute([0, 1], [[0.5, 0.5], [0.2, 0.8]]), 4)
    0.4581
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    import numpy as np

    shares = answer[np.arange(len(truth)), truth.astype(int)]
    least = np.finfo(shares.dtype).eps
    return mean(-np.log(shares.astype(float).clip(least, 1.0)), weights)
