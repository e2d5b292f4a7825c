"""Share of rows whose predicted class is the true one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

HIGHER_IS_BETTER = True


def compute(truth: ArrayLike, predicted: ArrayLike) -> float:
    """truth, predicted: class indices, shape (n,). NaN when there are no rows.

    >>> compute([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    import numpy as np

    right = np.asarray(truth) == np.asarray(predicted)
    return float(right.mean()) if right.size else float("nan")
