"""Mean precision over the ways to cut the ranking: average precision."""

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
    """The sum over falling thresholds of precision x the recall gained there.

    Manning, Raghavan and Schuetze, Introduction to Information Retrieval (2008), 8.4. Of two
    classes it is the second one's; of more the mean over classes, each against the rest.

    truth: class indices, (n,); answer: probabilities, (n, classes). NaN where no
    row is of the class.

    >>> round(compute([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]]), 4)
    0.8333
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    return mean_of_classes([_area(one) for one in rankings(truth, answer, weights)])


def _area(one: Ranking) -> Numbers:
    hits = one.positive.cumsum(axis=1)
    precision = ratio(hits, hits + one.negative.cumsum(axis=1), otherwise=0.0)
    return ratio((precision * one.positive).sum(axis=1), one.positive.sum(axis=1))
