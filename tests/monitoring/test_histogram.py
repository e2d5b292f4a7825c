"""The drift detector: how often it is wrong, and what it sees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline_tasks.detectors.histogram import Params, compare

FEATURES = 20


def false_alarms(rows: int, windows: int, params: Params) -> float:
    """Share of undrifted windows of 20 features in which any alarms."""
    random = np.random.default_rng(rows)
    wrong = 0
    for _ in range(windows):
        old, new = random.normal(size=(2, FEATURES, rows))
        wrong += any(
            compare(params, "x", old[i], new[i], tests=FEATURES).is_drift for i in range(FEATURES)
        )
    return wrong / windows


@pytest.mark.parametrize("rows", [100, 1000])
def test_an_undrifted_window_of_20_features_alarms_at_most_as_often_as_it_says(rows):
    significance_alone = Params(false_alarms=0.05, effect=1e-9)
    assert false_alarms(rows, 200, significance_alone) <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert false_alarms(rows, 200, Params()) <= 0.02


@pytest.mark.parametrize(("shift", "rows"), [(0.5, 1000), (0.5, 500), (1.0, 200)])
def test_a_shift_that_matters_is_seen(shift, rows):
    random = np.random.default_rng(3)
    for _ in range(20):
        old, new = random.normal(size=(2, rows))
        assert compare(Params(), "x", old, new + shift, tests=FEATURES).is_drift


def test_a_significant_difference_that_is_too_small_to_matter_is_no_drift():
    random = np.random.default_rng(4)
    old, new = random.normal(size=(2, 100_000))
    found = compare(Params(), "x", old, new + 0.05, tests=1)
    assert found.p_value < 1e-6
    assert not found.is_drift


def test_the_p_values_agree_with_scipys():
    random = np.random.default_rng(5)
    for shift in (0.0, 0.1, 0.2):
        old, new = random.normal(size=400), random.normal(size=600) + shift
        ours = compare(Params(), "x", old, new, tests=1)
        distance = stats.ks_2samp(old, new).statistic
        assert distance - 0.01 <= ours.effect <= distance, "binning never makes it larger"
        wanted = stats.kstwo.sf(ours.effect, 400 * 600 // 1000)
        assert ours.p_value == pytest.approx(wanted, rel=0.05, abs=0.005)
    old = random.choice(["a", "b", "c"], size=500)
    new = random.choice(["a", "b", "c"], size=700, p=[0.3, 0.3, 0.4])
    table = [[(side == name).sum() for name in "abc"] for side in (old, new)]
    wanted = stats.chi2_contingency(table).pvalue
    assert compare(Params(), "x", old, new, tests=1).p_value == pytest.approx(wanted, rel=0.05)


def test_a_category_that_was_never_seen_before_is_drift():
    found = compare(Params(), "x", ["a"] * 300, ["a"] * 150 + ["new"] * 150, tests=1)
    assert found.is_drift
    assert found.bins == ("a", "new")


@pytest.mark.parametrize("values", [[], [float("nan")] * 100, [1.0] * 100, [float("inf")] * 60])
def test_empty_constant_and_missing_values_are_no_error(values):
    assert not compare(Params(), "x", [1.0] * 100, values, tests=1).is_drift
