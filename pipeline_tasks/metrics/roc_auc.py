"""Chance that a row of a class is thought likelier to be of it than another row is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import mean_of_classes, rankings, ratio, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from pipeline_tasks.metrics import Numbers, Ranking

HIGHER_IS_BETTER = True
NEEDS = "probabilities"


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """Area under the ROC curve, ties counting half: Hanley and McNeil, Radiology 143 (1982).

    Of two classes it is the second one's; of more the mean over classes, each against the rest.

    truth: class indices, (n,); answer: probabilities, (n, classes). NaN where every
    row, or none, is of the class.

    >>> compute([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    0.75
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    return mean_of_classes([_area(one) for one in rankings(truth, answer, weights)])


def _area(one: Ranking) -> Numbers:
    below = one.negative.sum(axis=1, keepdims=True) - one.negative.cumsum(axis=1)
    pairs = (one.positive * (below + one.negative / 2)).sum(axis=1)
    return ratio(pairs, one.positive.sum(axis=1) * one.negative.sum(axis=1))
