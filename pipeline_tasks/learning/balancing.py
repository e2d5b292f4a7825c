"""What makes rare classes count as much as frequent ones: weights, or the rows more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_tasks.sections.preparation import Balance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def class_weights(labels: NDArray[np.int64], balance: Balance) -> dict[int, float]:
    """How much a row of each class counts, by class index: rows / (classes * rows of the class).

    King and Zeng's weights (Political Analysis 9, 2001), at most `balance.limit`. Over all rows
    they come to 1 on average, unless the limit is reached. Classes without rows have none.

    >>> import numpy as np
    >>> class_weights(np.array([0, 0, 0, 1]), Balance())
    {0: 0.6666666666666666, 1: 2.0}
    """
    import numpy as np

    found, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(found) * counts)
    return {
        int(index): min(float(weight), balance.limit)
        for index, weight in zip(found, weights, strict=True)
    }


def row_weights(labels: NDArray[np.int64], balance: Balance) -> NDArray[np.float32]:
    """How much each row counts, float32 (n,)."""
    import numpy as np

    weights = class_weights(labels, balance)
    table = np.zeros(int(labels.max(initial=-1)) + 1, dtype=np.float32)
    table[list(weights)] = list(weights.values())
    return table[labels]


def judging_weights(labels: NDArray[np.int64], balance: Balance) -> NDArray[np.float32]:
    """How much each row counts that is judged as the balanced rows are learned from; float32 (n,).

    Otherwise the first epochs, which know only how frequent a class is, would seem to be the best.

    >>> import numpy as np
    >>> judging_weights(np.array([0, 0, 0, 1]), Balance(kind="oversample", limit=2)).tolist()
    [1.0, 1.0, 1.0, 2.0]
    """
    import numpy as np

    if balance.kind == "weights":
        return row_weights(labels, balance)
    counts = np.bincount(labels)
    times = np.minimum(counts.max(initial=1) / np.maximum(counts, 1), balance.limit)
    weights: NDArray[np.float32] = times.astype(np.float32)[labels]
    return weights


def oversampled(labels: NDArray[np.int64], balance: Balance, *, seed: int) -> NDArray[np.int64]:
    """Places of rows, each row at least once and rare classes' rows more often, shuffled.

    Every class comes as often as the most frequent one, though no row more than `balance.limit`
    times; the same seed gives the same order.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    found, counts = np.unique(labels, return_counts=True)
    parts = []
    for index, count in zip(found, counts, strict=True):
        mine = np.flatnonzero(labels == index)
        wanted = min(int(counts.max()), int(count * balance.limit))
        whole, rest = divmod(wanted, int(count))
        parts += [np.tile(mine, whole), random.permutation(mine)[:rest]]
    return random.permutation(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)
