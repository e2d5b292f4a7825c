"""Of the rows predicted to be of a class, the share that is; mean over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

HIGHER_IS_BETTER = True


def compute(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Macro precision: the mean over classes seen of hits / predicted (0 where none is).

    truth, predicted: class indices, shape (n,). NaN when there are no rows.

    >>> round(compute([0, 1, 2, 2], [0, 1, 1, 2]), 4)
    0.8333
    """
    import numpy as np

    truth, predicted = np.asarray(truth), np.asarray(predicted)
    classes = np.union1d(truth, predicted)
    if not classes.size:
        return float("nan")
    scores = [_of_class(truth == one, predicted == one) for one in classes]
    return float(np.mean(scores))


def _of_class(is_true: NDArray[np.bool_], is_predicted: NDArray[np.bool_]) -> float:
    hits = int((is_true & is_predicted).sum())
    found = int(is_predicted.sum())
    return hits / found if found else 0.0
