"""Of all rows, the share that was found, whatever the class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import counts, ratio, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = True
NEEDS = "labels"
IS_SHARE_OF_RIGHT_ROWS = True


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """Micro recall: hits of all classes / rows of all classes.

    Every row has one class and one prediction: it equals the accuracy. Sokolova and Lapalme,
    Information Processing and Management 45 (2009).

    truth, answer: class indices, shape (n,). NaN when there are no rows.

    >>> round(compute([0, 1, 2, 2], [0, 1, 1, 2]), 4)
    0.75
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    found = counts(truth, answer, weights)
    return ratio(found.hits.sum(axis=1), found.true.sum(axis=1))
