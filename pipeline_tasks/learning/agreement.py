"""How an exported variant compares with the trained model: its answers, and how fast they come."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]

ROWS = 512
ROWS_AT_ONCE = 32
MOST_CALLS = 50
MOST_SECONDS = 0.1


@dataclass(frozen=True)
class Agreement:
    """How far answers are from the trained model's.

    largest_difference: of a probability, or of a number relative to its size where that is above
    one; NaN where one of them is. same_labels: share of rows, None for numbers.
    """

    largest_difference: float
    same_labels: float | None

    def loss(self) -> float:
        """The share of rows with another label, or the largest difference of a number."""
        return self.largest_difference if self.same_labels is None else 1 - self.same_labels


def agreement(wanted: Arrays, found: Arrays) -> Agreement:
    """Compare the answers to the same rows; outputs as a signature has them."""
    import numpy as np

    name = "value" if "value" in wanted else "probabilities"
    difference = np.abs(wanted[name].astype(np.float64) - found[name].astype(np.float64))
    if name == "value":
        size = np.maximum(1.0, np.abs(wanted[name].astype(np.float64)))
        return Agreement(float(np.max(difference / size)), None)
    same = float(np.mean(wanted["label"] == found["label"]))
    return Agreement(float(np.max(difference)), same)


def answers(call: Callable[[Arrays], Arrays], rows: Arrays) -> Arrays:
    """The answers to all rows, asked some at a time as a server does."""
    import numpy as np

    total = len(next(iter(rows.values())))
    parts = [
        call({name: values[start : start + ROWS_AT_ONCE] for name, values in rows.items()})
        for start in range(0, total, ROWS_AT_ONCE)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def milliseconds(call: Callable[[Arrays], Arrays], rows: Arrays) -> float:
    """The median time of a call with all these rows, after a first one that is not counted."""
    call(rows)
    seconds: list[float] = []
    while len(seconds) < MOST_CALLS and sum(seconds) < MOST_SECONDS:
        began = time.perf_counter()
        call(rows)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)
