"""How far a metric would vary had other rows been drawn: the bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipeline_tasks import metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

SEED = 20
RESAMPLES = 200
LOW, HIGH = 0.025, 0.975
# Weights in memory at a time, and numbers read altogether: of very many rows or classes there are
# fewer resamples, but not fewer than LEAST.
AT_ONCE, ALTOGETHER, LEAST = 500_000, 10_000_000, 50


def interval(resamples: Numbers) -> list[float]:
    """The middle 95 % (Efron, Annals of Statistics 7 (1979)); NaN without any that is defined."""
    import numpy as np

    known = resamples[~np.isnan(resamples)]
    if not known.size:
        return [float("nan")] * 2
    low, high = np.quantile(known, (LOW, HIGH)).tolist()
    return [low, high]


def resampled(
    part: ModuleType, truth: NDArray[Any], answers: Sequence[NDArray[Any]], resamples: int
) -> list[Numbers]:
    """A metric of each answer, (resamples,), over rows drawn with replacement: the same for all.

    part: the metric's module. answers: probabilities (n, classes) or values (n,). Fewer resamples
    where there are very many rows.
    """
    taken = [metrics.taken(part.NEEDS, answer) for answer in answers]
    if not len(truth) or not resamples:
        return [_none() for _ in answers]
    if not hasattr(part, "weighted"):
        return _one_by_one(part, truth, taken, resamples)
    if part.NEEDS == "labels":
        return _of_cells(part, truth, taken, resamples)
    found = [
        [part.weighted(truth, answer, weights) for answer in taken]
        for weights in _weights(len(truth), _affordable(taken[0], resamples))
    ]
    return [_joined(one) for one in zip(*found, strict=True)]


def differences(
    part: ModuleType, truth: NDArray[Any], answers: Mapping[str, NDArray[Any]], resamples: int
) -> list[float]:
    """The candidate's metric less the champion's, once for each resample of the rows they share."""
    pair = [answers["candidate"], answers["champion"]]
    candidate, champion = resampled(part, truth, pair, resamples)
    found: list[float] = (candidate - champion).round(6).tolist()
    return found


def spread_of_difference(
    part: ModuleType, *samples: tuple[NDArray[Any], NDArray[Any]]
) -> float | None:
    """The standard error of a metric's difference between samples that share no row.

    samples: each a truth and an answer. None for a share of right rows, whose spread follows from
    the shares and is never 0 by the accident that all were right; NaN where it is not known.
    """
    import numpy as np

    if getattr(part, "IS_SHARE_OF_RIGHT_ROWS", False):
        return None
    found = [resampled(part, truth, [answer], RESAMPLES)[0] for truth, answer in samples]
    known = [resamples[~np.isnan(resamples)] for resamples in found]
    return float(np.sqrt(sum(one.var() if one.size else np.nan for one in known)))


def _of_cells(
    part: ModuleType, truth: NDArray[Any], taken: Sequence[NDArray[Any]], resamples: int
) -> list[Numbers]:
    """Rows with the same truth and answers are drawn together: a multinomial number of them."""
    import numpy as np

    cells, counts = np.unique(np.stack([truth, *taken]), axis=1, return_counts=True)
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(len(truth), counts / len(truth), size=resamples).astype(float)
    return [part.weighted(cells[0], predicted, drawn) for predicted in cells[1:]]


def _affordable(answer: NDArray[Any], resamples: int) -> int:
    return min(resamples, max(LEAST, ALTOGETHER // answer.size))


def _weights(rows: int, resamples: int) -> Iterator[Numbers]:
    """How often each row is drawn, (some resamples, rows), until there are enough."""
    import numpy as np

    random = np.random.default_rng(SEED)
    left = resamples
    while left:
        some = min(left, max(1, AT_ONCE // rows))
        drawn = random.integers(0, rows, size=(some, rows), dtype=np.int64)
        places = (drawn + np.arange(some)[:, None] * rows).ravel()
        yield np.bincount(places, minlength=some * rows).reshape(some, rows).astype(float)
        left -= some


def _one_by_one(
    part: ModuleType, truth: NDArray[Any], taken: Sequence[NDArray[Any]], resamples: int
) -> list[Numbers]:
    import numpy as np

    random = np.random.default_rng(SEED)
    drawn = [random.integers(0, len(truth), size=len(truth)) for _ in range(resamples)]
    return [
        np.array([part.compute(truth[rows], answer[rows]) for rows in drawn]) for answer in taken
    ]


def _none() -> Numbers:
    import numpy as np

    return np.empty(0)


def _joined(parts: Sequence[Numbers]) -> Numbers:
    import numpy as np

    return np.concatenate(parts)
