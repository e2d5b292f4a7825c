"""Measures of quality: one file, one metric.

A metric says `HIGHER_IS_BETTER`, and what it `NEEDS` beside the truth: `labels` (class indices,
(n,)), `probabilities` ((n, classes)) or `values` (numbers, (n,)). Its `compute(truth, answer)` is a
float, NaN where it is not defined. A metric may offer `weighted(truth, answer, weights)` as well:
weights (resamples, n) are how often each row counts, and the answer is one number a resample. That
is what makes its intervals cheap; without it they are computed one resample at a time.
`HAS_UNIT` says that it is in the label's own unit: then margins are shares of the value that it is
compared with. `IS_SHARE_OF_RIGHT_ROWS` says just that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import UnknownPartError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Numbers = NDArray[np.float64]
    Weighted = Callable[[NDArray[Any], NDArray[Any], Numbers], Numbers]

FITS = {
    "binary": ("labels", "probabilities"),
    "multiclass": ("labels", "probabilities"),
    "regression": ("values",),
}


def misfit(kind: str, task: str) -> str:
    """Why a metric says nothing about a task, and which ones do; "" when it fits.

    >>> misfit("rmse", "regression")
    ''
    >>> misfit("rmse", "binary").split(";")[0]
    'rmse needs values, which a model for binary does not answer'
    """
    needs = registry.part("metrics", kind).NEEDS
    if needs in FITS[task]:
        return ""
    fitting = [
        name
        for name in registry.known("metrics")
        if registry.part("metrics", name).NEEDS in FITS[task]
    ]
    return (
        f"{kind} needs {needs}, which a model for {task} does not answer; use {', '.join(fitting)}"
    )


def check(kinds: tuple[str, ...], task: str | None) -> None:
    """Raise one error for all names that no metric has, or only one for another task.

    task: None where the label does not say.
    """
    found: list[dict[str, object]] = []
    where: dict[str, object]
    for place, kind in enumerate(kinds):
        where = {"loc": (place,), "input": kind}
        if kind not in registry.known("metrics"):
            found.append(where | {"type": "unknown_part", "msg": _unknown(kind)})
        elif task and (text := misfit(kind, task)):
            found.append(where | {"type": "value_error", "msg": text})
    if found:
        raise PydanticCustomError("part", "", {"errors": found})


def _unknown(kind: str) -> str:
    try:
        registry.part("metrics", kind)
    except UnknownPartError as error:
        return str(error)
    return ""


def taken(needs: str, answer: NDArray[Any]) -> NDArray[Any]:
    """What a metric takes of an answer: probabilities (n, classes) or values (n,), or labels."""
    found: NDArray[Any] = answer.argmax(axis=1) if needs == "labels" else answer
    return found


def single(weighted: Weighted, truth: ArrayLike, answer: ArrayLike) -> float:
    """A metric of all rows, each counted once. NaN when there are none."""
    import numpy as np

    truth, answer = np.asarray(truth), np.asarray(answer)
    if not truth.size:
        return float("nan")
    return float(weighted(truth, answer, np.ones((1, len(truth))))[0])


def mean(of_rows: NDArray[Any], weights: Numbers) -> Numbers:
    """The weighted mean of a number per row (n,), one a resample."""
    return ratio(weights @ of_rows, weights.sum(axis=1))


def ratio(above: Numbers, below: Numbers, *, otherwise: float = float("nan")) -> Numbers:
    """above / below, and `otherwise` where below is 0."""
    import numpy as np

    known = below != 0
    quotient: Numbers = np.divide(
        above, below, out=np.full(np.shape(below), otherwise), where=known
    )
    return quotient


@dataclass(frozen=True)
class Counts:
    """Rows by class, (resamples, classes): rightly predicted, true, and predicted ones."""

    hits: Numbers
    true: Numbers
    predicted: Numbers

    def mean(self, of_classes: Numbers) -> Numbers:
        """The mean over the classes seen, be it in the truth or in the prediction."""
        is_seen = self.true + self.predicted > 0
        return ratio((of_classes * is_seen).sum(axis=1), is_seen.sum(axis=1).astype(float))


def counts(truth: NDArray[Any], predicted: NDArray[Any], weights: Numbers) -> Counts:
    """What precision, recall and all their kin are made of. truth, predicted: indices (n,)."""
    import numpy as np

    classes, indices = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    true, found = indices[: len(truth)], indices[len(truth) :]
    size = len(classes)
    return Counts(
        hits=_by_class(true, weights * (true == found), size),
        true=_by_class(true, weights, size),
        predicted=_by_class(found, weights, size),
    )


def _by_class(indices: NDArray[Any], weights: Numbers, size: int) -> Numbers:
    import numpy as np

    resamples = len(weights)
    places = (np.arange(resamples)[:, None] * size + indices).ravel()
    found = np.bincount(places, weights.ravel(), minlength=resamples * size)
    return found.reshape(resamples, size).astype(float)


@dataclass(frozen=True)
class Ranking:
    """One class against the others, from the most to the least probable, ties together.

    Both (resamples, different scores): rows of the class, and of the others, at each score.
    """

    scores: Numbers
    positive: Numbers
    negative: Numbers


def rankings(truth: NDArray[Any], shares: NDArray[Any], weights: Numbers) -> Iterator[Ranking]:
    """The ranking of the second of two classes, or of each of more. shares: (n, classes)."""
    classes = shares.shape[1]
    for one in [1] if classes == 2 else range(classes):
        yield ranking(truth == one, shares[:, one], weights)


def ranking(is_positive: NDArray[Any], scores: NDArray[Any], weights: Numbers) -> Ranking:
    """Rows by falling score. is_positive, scores: (n,)."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    kept = weights[:, order]
    total = np.add.reduceat(kept, starts, axis=1)
    positive = np.add.reduceat(kept * is_positive[order], starts, axis=1)
    return Ranking(ordered[starts].astype(float), positive, total - positive)


def mean_of_classes(of_classes: list[Numbers]) -> Numbers:
    """The mean over the classes for which a number is defined; NaN where none is."""
    import numpy as np

    found = np.stack(of_classes)
    is_known = ~np.isnan(found)
    return ratio(np.where(is_known, found, 0.0).sum(axis=0), is_known.sum(axis=0).astype(float))
