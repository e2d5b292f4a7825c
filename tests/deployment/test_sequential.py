"""Confidence sequences: rarely wrong however often one looks, and soon sure."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_tasks.decisions.sequential import bounds


@pytest.mark.parametrize("share", [0.002, 0.01, 0.1, 0.5])
def test_a_true_share_is_hardly_ever_outside_at_any_of_a_thousand_looks(share):
    random = np.random.default_rng(7)
    alpha, runs, wrong = 0.1, 300, 0
    for _ in range(runs):
        hits = np.cumsum(random.random(2000) < share)
        looks = [bounds(int(hits[n - 1]), n, alpha) for n in range(1, 2001, 25)]
        wrong += any(not low <= share <= high for low, high in looks)
    # At most alpha in truth; four standard errors of 300 runs on top.
    assert wrong / runs <= alpha + 4 * np.sqrt(alpha * (1 - alpha) / runs)


def test_what_fails_always_is_known_after_a_handful_of_requests():
    assert bounds(6, 6, 0.0005)[0] > 0.15


def test_a_share_is_inside_its_own_bounds_which_close_in():
    widths = []
    for of in (10, 100, 1000, 10_000):
        low, high = bounds(of // 10, of, 0.01)
        assert low < 0.1 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
