"""The alarms that are usual: any feature's p-value, PSI or Wasserstein's distance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

USUAL = ("p < 0.05", "PSI > 0.1", "Wasserstein > 0.1 sd")
Numbers = NDArray[np.float64]


class Usual:
    """One feature's reference, and whether a window differs from it."""

    def __init__(self, reference: Numbers) -> None:
        self.sorted = np.sort(reference)
        self.sd = float(reference.std())
        self.deciles = np.quantile(self.sorted, np.linspace(0, 1, 11)[1:-1])
        self.shares = self._by_decile(self.sorted)

    def alarms(self, window: Numbers) -> dict[str, bool]:
        """Each of the alarms, by name."""
        new = np.sort(window)
        both = np.sort(np.concatenate([self.sorted, new]), kind="stable")
        gaps = np.searchsorted(self.sorted, both, "right") / len(self.sorted)
        gaps = np.abs(gaps - np.searchsorted(new, both, "right") / len(new))
        size = round(len(self.sorted) * len(new) / (len(self.sorted) + len(new)))
        shares = self._by_decile(new)
        psi = ((shares - self.shares) * np.log(shares / self.shares)).sum()
        return {
            "p < 0.05": float(stats.kstwo.sf(gaps.max(), size)) < 0.05,
            "PSI > 0.1": float(psi) > 0.1,
            "Wasserstein > 0.1 sd": float(gaps[:-1] @ np.diff(both)) / self.sd > 0.1,
        }

    def _by_decile(self, ordered: Numbers) -> Numbers:
        below = [0, *np.searchsorted(ordered, self.deciles), len(ordered)]
        return np.maximum(np.diff(below) / len(ordered), 1e-4)


def usual(references: Sequence[Usual], window: NDArray[np.float64]) -> dict[str, bool]:
    """Does any of the features, (features, rows), raise each alarm?"""
    found = [one.alarms(values) for one, values in zip(references, window, strict=True)]
    return {alarm: any(one[alarm] for one in found) for alarm in USUAL}


def drops(errors: Numbers, share: float, rows: int) -> list[int]:
    """After which rows a block has more errors than 95 % of blocks would, were they independent."""
    counts = errors[: len(errors) // rows * rows].reshape(-1, rows).sum(axis=1)
    limit = share * rows + 1.645 * math.sqrt(share * (1 - share) * rows)
    return [int((at + 1) * rows) for at in np.flatnonzero(counts > limit)]
