"""Has a rate or a mean risen? An EWMA chart of block means, with a stated time to a false alarm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

WEIGHT = 0.2
STATES = 81


@dataclass(frozen=True)
class Ewma:
    """What the chart keeps to.

    mean, sd, skew: of a block while all is well; mean_error, sd_error: how exactly the first two
    are known, as standard deviations, and common_error how far they are wrong together, as a
    covariance. correlation: of each block with the next. limit: standard deviations that alarm,
    were the blocks normal.
    """

    mean: float
    sd: float
    skew: float
    mean_error: float
    correlation: float
    limit: float
    weight: float = WEIGHT
    sd_error: float = 0.0
    common_error: float = 0.0

    @property
    def threshold(self) -> float:
        """Above it, the moving average alarms.

        Its spread among correlated blocks is Schmid's (Statistics 31, 1997), what a skewed one adds
        Cornish and Fisher's. The average differs from a threshold that is itself an estimate: the
        variances of both count.
        """
        forgets, kept = 1 - self.weight, self.correlation * (1 - self.weight)
        share = self.weight / (2 - self.weight)
        spread = math.sqrt(share * (1 + kept) / (1 - kept))
        skew: float = self.skew * self.weight**3 / (1 - forgets**3) / share**1.5
        limit = self.limit + (self.limit**2 - 1) * skew / 6
        reach = limit * spread
        known = self.mean_error**2 + (reach * self.sd_error) ** 2 + 2 * reach * self.common_error
        return self.mean + limit * math.sqrt((self.sd * spread) ** 2 + known)


@dataclass(frozen=True)
class Watched:
    """Where a chart is: the moving average, the blocks so far, and those that alarmed.

    since: after how many blocks the average was at its mean, or below, for the last time.
    """

    average: float
    blocks: int = 0
    alarms: tuple[int, ...] = ()
    since: int = 0


def chart_of_rate(
    blocks: Sequence[float], *, block_rows: int, run_length: float, weight: float = WEIGHT
) -> Ewma:
    """A chart of a share, such as of errors, from a reference's block shares in the order of time.

    block_rows: rows in a block. run_length: blocks until a false alarm, on average and at least
    (ARL0). The spread is the binomial one, or the blocks' own where they vary more: what is wrong
    comes in bursts. Fewer than 50 blocks of bursts are too few to tell: of 20, false alarms come up
    to 2.5 times as often.
    """
    mean = sum(blocks) / len(blocks)
    # A reference without a single error has not shown that there are none.
    share = (mean * block_rows * len(blocks) + 0.5) / (block_rows * len(blocks) + 1)
    binomial = math.sqrt(share * (1 - share) / block_rows)
    chart = _chart(blocks, share, run_length, weight)
    skew = (1 - 2 * share) / (binomial * block_rows)
    if binomial < chart.sd:
        return replace(chart, skew=max(skew, chart.skew))
    error = binomial / math.sqrt(len(blocks))
    error = max(error, chart.mean_error)
    return replace(chart, sd=binomial, skew=skew, mean_error=error, sd_error=0.0, common_error=0.0)


def chart_of_mean(blocks: Sequence[float], *, run_length: float, weight: float = WEIGHT) -> Ewma:
    """A chart of any measure, such as the logarithm of the latency, from a reference's blocks."""
    return _chart(blocks, sum(blocks) / len(blocks), run_length, weight)


def watch(
    chart: Ewma, blocks: Sequence[float], since: Watched | None = None, *, restarts: bool = True
) -> Watched:
    """Go on with new block means; after an alarm the chart begins anew at its mean.

    restarts: False for a chart that is to stay above its threshold as long as what is watched does.
    """
    at = since or Watched(average=chart.mean)
    for value in blocks:
        average = (1 - chart.weight) * at.average + chart.weight * value
        count = at.blocks + 1
        begun = count if average <= chart.mean else at.since
        at = replace(at, average=average, blocks=count, since=begun)
        if average > chart.threshold and restarts:
            at = Watched(chart.mean, count, (*at.alarms, count), since=count)
    return at


def _chart(blocks: Sequence[float], mean: float, run_length: float, weight: float) -> Ewma:
    count, own = len(blocks), sum(blocks) / len(blocks)
    sd = math.sqrt(sum((one - own) ** 2 for one in blocks) / max(count - 1, 1))
    off = [(one - own) / sd if sd else 0.0 for one in blocks]
    skew = max(sum(one**3 for one in off) / count, 0.0)
    # What a block adds to an estimate of the sd: half of its square less 1, of its own sd.
    surprise = sum((one**2 - 1) ** 2 for one in off) / 4 / count
    correlation = _correlation(blocks)
    return Ewma(
        mean=mean,
        sd=sd,
        skew=skew,
        mean_error=sd * math.sqrt((1 + correlation) / (1 - correlation) / count),
        sd_error=sd * math.sqrt(surprise / count),
        common_error=sd**2 * skew / 2 / count,
        correlation=correlation,
        limit=limit_of(run_length, weight),
        weight=weight,
    )


def _correlation(blocks: Sequence[float]) -> float:
    """Of each block with the next; from 0 to 0.9, and corrected for the few there are."""
    mean = sum(blocks) / len(blocks)
    off = [one - mean for one in blocks]
    power = sum(one * one for one in off)
    if not power:
        return 0.0
    found = sum(a * b for a, b in pairwise(off)) / power
    return min(max(found + 1 / len(blocks), 0.0), 0.9)


@lru_cache
def limit_of(run_length: float, weight: float = WEIGHT) -> float:
    """The limit, in standard deviations, that a steady normal chart exceeds so seldom.

    >>> round(limit_of(500, 0.2), 2)
    2.71
    """
    low, high = 0.0, 8.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if run_length_of(middle, weight) < run_length else (low, middle)
    return high


def run_length_of(limit: float, weight: float = WEIGHT) -> float:
    """Blocks until a one-sided chart of independent normal blocks alarms, on average.

    The moving average as a Markov chain (Brook and Evans, Biometrika 59, 1972; Lucas and Saccucci,
    Technometrics 32, 1990), reflected nowhere: it may fall as low as it likes.
    """
    import numpy as np

    top = limit * math.sqrt(weight / (2 - weight))
    bottom = -6 * math.sqrt(weight / (2 - weight))
    width = (top - bottom) / STATES
    centers = bottom + width * (np.arange(STATES) + 0.5)
    edges = bottom + width * np.arange(STATES + 1)
    edges[0] = -math.inf
    steps = (edges[None, :] - (1 - weight) * centers[:, None]) / weight
    below = np.vectorize(_normal)(steps)
    moves = np.diff(below, axis=1)
    lengths = np.linalg.solve(np.eye(STATES) - moves, np.ones(STATES))
    return float(np.interp(0.0, centers, lengths))


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
