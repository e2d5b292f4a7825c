"""Curves of a candidate as data: ROC, precision and recall, reliability, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipeline_tasks import metrics
from pipeline_tasks.validation.importance import sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS = 200
BINS = 10
MOST_CLASSES = 20


def of_classes(
    truth: NDArray[Any], shares: NDArray[Any], classes: Sequence[object]
) -> dict[str, JsonValue]:
    """ROC and PR curve of each class against the rest (of two, the second one), and reliability.

    truth: class indices, (n,); shares: (n, classes). A class without rows on both sides has no
    curves; of many classes, the first twenty have.
    """
    shown = [1] if len(classes) == 2 else range(min(len(classes), MOST_CLASSES))
    found: list[JsonValue] = []
    for index in shown:
        is_positive = truth == index
        if is_positive.any() and not is_positive.all():
            found.append({"class": str(classes[index]), **_curves(is_positive, shares[:, index])})
    return {"by_class": found, "reliability": reliability(truth, shares)}


def of_values(truth: NDArray[Any], values: NDArray[Any]) -> dict[str, JsonValue]:
    """True and predicted numbers of some rows, and a histogram of the errors of all."""
    import numpy as np

    chosen = sample(len(truth), POINTS)
    errors = values.astype(float) - truth
    counts, edges = np.histogram(errors, bins=2 * BINS)
    return {
        "true": truth[chosen].tolist(),
        "predicted": values[chosen].tolist(),
        "errors": {"counts": counts.tolist(), "edges": edges.tolist()},
    }


def reliability(truth: NDArray[Any], shares: NDArray[Any]) -> dict[str, JsonValue]:
    """Mean confidence, share of right answers and rows in ten bins of confidence that have rows."""
    import numpy as np

    confidence = shares.max(axis=1).astype(float)
    is_right = shares.argmax(axis=1) == truth
    bins = np.ceil(confidence * BINS).astype(int).clip(1, BINS) - 1
    rows = np.bincount(bins, minlength=BINS)
    used = rows > 0
    mean = np.bincount(bins, confidence, minlength=BINS)[used] / rows[used]
    right = np.bincount(bins, is_right, minlength=BINS)[used] / rows[used]
    return {"confidence": mean.tolist(), "right": right.tolist(), "rows": rows[used].tolist()}


def _curves(is_positive: NDArray[np.bool_], scores: NDArray[Any]) -> dict[str, JsonValue]:
    """From the highest threshold to the lowest."""
    import numpy as np

    ranking = metrics.ranking(is_positive, scores, np.ones((1, len(scores))))
    hits, alarms = ranking.positive[0].cumsum(), ranking.negative[0].cumsum()
    chosen = sample(len(hits), POINTS)
    found: dict[str, JsonValue] = {
        "threshold": ranking.scores[chosen].tolist(),
        "true_positive_rate": (hits / hits[-1])[chosen].tolist(),
        "false_positive_rate": (alarms / alarms[-1])[chosen].tolist(),
        "precision": (hits / (hits + alarms))[chosen].tolist(),
    }
    return found
