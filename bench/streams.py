"""Streams with nothing wrong in them: independent rows, and rows that resemble the ones before."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FEATURES = 20
Matrix = NDArray[np.float64]
Random = np.random.Generator


def independent(random: Random, rows: int) -> Matrix:
    """Normal numbers, (features, rows); so are the others, each with a variance of about 1."""
    return random.normal(size=(FEATURES, rows))


def autocorrelated(random: Random, rows: int, kept: float = 0.9) -> Matrix:
    """AR(1): each number is `kept` of the last one and noise; a row in 19 is worth one."""
    values = random.normal(size=(rows, FEATURES))
    values[1:] *= math.sqrt(1 - kept * kept)
    for last, this in pairwise(values):
        np.add(this, kept * last, out=this)
    return values.T.copy()


def sessions(random: Random, rows: int, length: int = 50) -> Matrix:
    """Users send rows one after the other, about 50 each; half the variance is the user's."""
    user = np.cumsum(random.random(rows) < 1 / length)
    users = random.normal(size=(FEATURES, int(user[-1]) + 1))
    return math.sqrt(0.5) * (users[:, user] + random.normal(size=(FEATURES, rows)))


def bursts(random: Random, rows: int, length: int = 100, share: float = 0.05) -> Matrix:
    """One row in twenty is in a burst of about a hundred, in which every number is 1 higher."""
    is_in_burst = np.zeros(rows, dtype=bool)
    at = 0
    while at < rows:
        at += int(random.geometric(share / (1 - share) / length))
        end = at + int(random.geometric(1 / length))
        is_in_burst[at:end] = True
        at = end
    return random.normal(size=(FEATURES, rows)) + is_in_burst


STREAMS: dict[str, Callable[[Random, int], Matrix]] = {
    "independent": independent,
    "AR(1) 0.9": autocorrelated,
    "sessions": sessions,
    "bursts": bursts,
}


def errors(random: Random, rows: int, share: float, repeated: float) -> NDArray[np.float64]:
    """0 or 1, (rows,): an error with this chance, or, `repeated` of the time, what was last."""
    fresh = np.where(random.random(rows) < repeated, 0, np.arange(rows))
    return (random.random(rows) < share)[np.maximum.accumulate(fresh)].astype(float)
