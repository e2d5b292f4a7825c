"""ADWIN: a window that grows while its mean is steady, and is cut where it is not."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydantic import Field

from pipeline_tasks.core.values import Frozen

IN_A_ROW = 5
LEAST = 5
CORRELATED = 0.2


class Bucket(Frozen):
    """Values that are remembered together: how many, their sum, and their squared deviations."""

    count: int
    total: float
    squares: float

    def __add__(self, other: Bucket) -> Bucket:
        gap = self.total / self.count - other.total / other.count
        count = self.count + other.count
        between = gap * gap * self.count * other.count / count
        return Bucket(
            count=count,
            total=self.total + other.total,
            squares=self.squares + other.squares + between,
        )


class Adwin(Frozen):
    """The window: buckets, the oldest first, each with a power of two of values.

    delta: the chance of a cut in a steady stream at any one moment, at most. cuts: after how many
    values the mean was found changed. is_higher: it rose at the last cut.
    """

    delta: float = Field(0.002, gt=0, lt=1)
    buckets: tuple[Bucket, ...] = ()
    seen: int = 0
    cuts: tuple[int, ...] = ()
    rises: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Of the values since the last change."""
        count = sum(one.count for one in self.buckets)
        return sum(one.total for one in self.buckets) / count if count else math.nan


def watch(adwin: Adwin, values: Iterable[float], *, every: int = 1) -> Adwin:
    """Go on with new values between 0 and 1; look for a change after `every` of them.

    Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007, with
    the bound that knows the variance. A stream whose neighbours are correlated must be given as
    block means, see `thinned`.
    """
    buckets, seen = list(adwin.buckets), adwin.seen
    cuts, rises = list(adwin.cuts), list(adwin.rises)
    for value in values:
        seen += 1
        _add(buckets, value)
        if seen % every:
            continue
        before = None
        while (at := _cut(buckets, adwin.delta)) is not None:
            before = _mean(buckets[:at]) if before is None else before
            del buckets[:1]
        if before is not None:
            cuts.append(seen)
            rises.extend([seen] if _mean(buckets) > before else [])
    return adwin.model_copy(
        update={"buckets": tuple(buckets), "seen": seen, "cuts": tuple(cuts), "rises": tuple(rises)}
    )


def _add(buckets: list[Bucket], value: float) -> None:
    """A new bucket of one; of any size there are so many at most, then the oldest two are one."""
    buckets.append(Bucket(count=1, total=value, squares=0.0))
    end, size = len(buckets), 1
    while True:
        start = end
        while start and buckets[start - 1].count == size:
            start -= 1
        if end - start <= IN_A_ROW:
            return
        buckets[start : start + 2] = [buckets[start] + buckets[start + 1]]
        end, size = start + 1, size * 2


def _cut(buckets: list[Bucket], delta: float) -> int | None:
    """Before which bucket the mean was another, for certain; None where nowhere."""
    whole = _sum(buckets)
    if whole is None or whole.count < 2 * LEAST:
        return None
    certainty = math.log(2 * math.log(whole.count) / delta)
    variance = whole.squares / whole.count
    count, total = 0, 0.0
    for place, bucket in enumerate(buckets[:-1], 1):
        count, total = count + bucket.count, total + bucket.total
        rest = whole.count - count
        if count < LEAST or rest < LEAST:
            continue
        share = 1 / (count - LEAST + 1) + 1 / (rest - LEAST + 1)
        bound = math.sqrt(2 * share * variance * certainty) + 2 / 3 * share * certainty
        if abs(total / count - (whole.total - total) / rest) > bound:
            return place
    return None
