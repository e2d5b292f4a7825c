"""Share of a class's rows that was found; mean over the classes there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import counts, mean_of_classes, ratio, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = True
NEEDS = "labels"


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """The mean over classes with rows of hits / rows: Brodersen et al., ICPR 2010.

    truth, answer: class indices, shape (n,). NaN when there are no rows.

    >>> compute([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    found = counts(truth, answer, weights)
    return mean_of_classes(list(ratio(found.hits, found.true).T))
