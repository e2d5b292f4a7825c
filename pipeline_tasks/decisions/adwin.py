"""ADWIN: a window that grows while its mean is steady, and is cut where it is not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

IN_A_ROW = 5
LEAST = 5
CORRELATED = 0.2


class Bucket(NamedTuple):
    """Values that are remembered together: how many, their sum, and their squared deviations."""

    rows: int
    total: float
    squares: float


@dataclass(frozen=True)
class Adwin:
    """The window: buckets of values, the oldest first and largest.

    delta: the chance, at most, of a cut at any moment while nothing changes. cuts: after how many
    values the mean was found changed; rises: those of them after which it is higher. parted: after
    how many values the newest change was, by estimate.
    """

    delta: float = 0.002
    buckets: tuple[Bucket, ...] = ()
    seen: int = 0
    cuts: tuple[int, ...] = ()
    rises: tuple[int, ...] = ()
    parted: int = 0

    @property
    def mean(self) -> float:
        """Of the values since the last change."""
        return _mean(self.buckets) if self.buckets else math.nan

    @property
    def starts(self) -> tuple[int, ...]:
        """After how many values each bucket begins."""
        return _starts(self.buckets, self.seen)


def watch(adwin: Adwin, values: Iterable[float], *, every: int = 1) -> Adwin:
    """Go on with new values between 0 and 1, and look for a change after `every` of them.

    Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007. The
    bound is for independent values: give a correlated stream as means of `block_rows`.
    """
    buckets, seen = list(adwin.buckets), adwin.seen
    cuts, rises, parted = list(adwin.cuts), list(adwin.rises), adwin.parted
    for value in values:
        seen += 1
        _add(buckets, float(value))
        whole = tuple(buckets)
        if seen % every == 0 and (change := _shrink(buckets, adwin.delta)):
            cuts.append(seen)
            rises += [seen] if change > 0 else []
            parted = _parting(whole, seen, parted)
    return Adwin(adwin.delta, tuple(buckets), seen, tuple(cuts), tuple(rises), parted)


def block_rows(errors: Sequence[float]) -> int:
    """How many rows a block needs so that its mean hardly tells the next one's: 1, 2, 4 ..."""
    rows = 1
    while len(errors) // rows >= 40 and _next(block_means(errors, rows)) > CORRELATED:
        rows *= 2
    return rows


def block_means(values: Sequence[float], rows: int) -> list[float]:
    """The means of each `rows` values in a row; the last few that fill no block are left out."""
    return [sum(values[at : at + rows]) / rows for at in range(0, len(values) - rows + 1, rows)]


def _add(buckets: list[Bucket], value: float) -> None:
    """A new bucket of one; beyond a number of the same size, the oldest two of them are one."""
    buckets.append(Bucket(1, value, 0.0))
    end, size = len(buckets), 1
    while end:
        start = end
        while start and buckets[start - 1].rows == size:
            start -= 1
        if end - start <= IN_A_ROW:
            return
        buckets[start : start + 2] = [_joined(buckets[start], buckets[start + 1])]
        end, size = start + 1, size * 2


def _shrink(buckets: list[Bucket], delta: float) -> float:
    """Forget the oldest while some older part's mean is another; by how much the mean rose."""
    before, has_changed = _mean(buckets), False
    while len(buckets) > 1 and _is_cut(buckets, delta):
        del buckets[0]
        has_changed = True
    return _mean(buckets) - before if has_changed else 0.0


def _is_cut(buckets: Sequence[Bucket], delta: float) -> bool:
    whole = buckets[0]
    for bucket in buckets[1:]:
        whole = _joined(whole, bucket)
    if whole.rows < 2 * LEAST:
        return False
    certainty = math.log(2 * math.log(whole.rows) / delta)
    variance, mean = whole.squares / whole.rows, whole.total / whole.rows
    # 1 for values that are 0 or 1; for means of k independent ones, which reach less far, 1 / k.
    reach = min(1.0, variance / max(mean * (1 - mean), 1e-12))
    count, total = 0, 0.0
    for bucket in buckets[:-1]:
        count, total = count + bucket.rows, total + bucket.total
        rest = whole.rows - count
        if min(count, rest) >= LEAST:
            share = 1 / count + 1 / rest
            bound = math.sqrt(2 * share * variance * certainty) + 2 / 3 * share * certainty * reach
            if abs(total / count - (whole.total - total) / rest) > bound:
                return True
    return False


def _parting(buckets: Sequence[Bucket], seen: int, known: int) -> int:
    """After how many values the mean changed: where two means fit the buckets best.

    known: the last such place, which stays where it is beside this one: buckets were finer then.
    """
    sums = list(accumulate(buckets, _joined))
    whole = sums[-1]
    gains = [
        (whole.total * part.rows - part.total * whole.rows) ** 2
        / (part.rows * (whole.rows - part.rows))
        for part in sums[:-1]
    ]
    at = gains.index(max(gains))
    before, found, after = (*_starts(buckets, seen), seen)[at : at + 3]
    return known if before <= known <= after else found


def _starts(buckets: Sequence[Bucket], seen: int) -> tuple[int, ...]:
    return tuple(accumulate((one.rows for one in buckets[:-1]), initial=seen - _rows(buckets)))


def _joined(one: Bucket, other: Bucket) -> Bucket:
    gap = one.total / one.rows - other.total / other.rows
    count = one.rows + other.rows
    between = gap * gap * one.rows * other.rows / count
    return Bucket(count, one.total + other.total, one.squares + other.squares + between)


def _mean(buckets: Sequence[Bucket]) -> float:
    return sum(one.total for one in buckets) / _rows(buckets)


def _rows(buckets: Sequence[Bucket]) -> int:
    return sum(one.rows for one in buckets)


def _next(values: Sequence[float]) -> float:
    """The correlation of each value with the next."""
    mean = sum(values) / len(values)
    off = [one - mean for one in values]
    power = sum(one * one for one in off)
    return sum(a * b for a, b in pairwise(off)) / power if power else 0.0
