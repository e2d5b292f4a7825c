"""Of the rows of a class, the share that was found; mean over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline_tasks.metrics import counts, ratio, single

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = True
NEEDS = "labels"


def compute(truth: ArrayLike, answer: ArrayLike) -> float:
    """Macro recall: the mean over classes seen of hits / rows (0 where there are none).

    Sokolova and Lapalme, Information Processing and Management 45 (2009).

    truth, answer: class indices, shape (n,). NaN when there are no rows.

    >>> round(compute([0, 1, 2, 2], [0, 1, 1, 2]), 4)
    0.8333
    """
    return single(weighted, truth, answer)


def weighted(
    truth: NDArray[Any], answer: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same where row i counts weights[:, i] times; one number a resample."""
    found = counts(truth, answer, weights)
    return found.mean(ratio(found.hits, found.true, otherwise=0.0))
