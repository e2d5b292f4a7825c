"""Intervals are those of the plain bootstrap; slices mean the same in every split."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline_tasks.core import registry
from pipeline_tasks.validation import intervals, slices
from pipeline_tasks.validation.importance import importance

RANDOM = np.random.default_rng(8)
TRUTH = RANDOM.integers(0, 3, size=300)
SHARES = RANDOM.dirichlet(np.ones(3), size=300) + 0.4 * np.eye(3)[TRUTH]
SHARES /= SHARES.sum(axis=1, keepdims=True)
NUMBERS = RANDOM.normal(size=300)
ANSWERS = NUMBERS + RANDOM.normal(size=300)


def rows_of(part):
    return (NUMBERS, ANSWERS) if part.NEEDS == "values" else (TRUTH, SHARES)


@pytest.mark.parametrize("kind", registry.known("metrics"))
def test_the_cheap_way_finds_the_interval_of_the_plain_bootstrap(kind):
    part = registry.part("metrics", kind)
    plain = SimpleNamespace(compute=part.compute, NEEDS=part.NEEDS)
    truth, answer = rows_of(part)
    [cheap], [slow] = (
        intervals.resampled(one, truth, [answer], resamples=1500) for one in (part, plain)
    )
    spread = slow.std()
    assert cheap.mean() == pytest.approx(slow.mean(), abs=0.2 * spread)
    assert cheap.std() == pytest.approx(spread, rel=0.15)
    np.testing.assert_allclose(intervals.interval(cheap), intervals.interval(slow), atol=spread / 2)


def test_the_interval_of_a_share_is_as_wide_as_the_binomial_distribution_has_it():
    truth = np.zeros(1000, dtype=int)
    shares = np.eye(2)[(np.arange(1000) < 200).astype(int)]
    [found] = intervals.resampled(registry.part("metrics", "accuracy"), truth, [shares], 2000)
    assert found.std() == pytest.approx((0.8 * 0.2 / 1000) ** 0.5, rel=0.1)
    assert intervals.interval(found) == pytest.approx([0.775, 0.825], abs=0.005)


def test_two_answers_are_resampled_together():
    part = registry.part("metrics", "log_loss")
    first, same = intervals.resampled(part, TRUTH, [SHARES, SHARES], 50)
    np.testing.assert_array_equal(first, same)
    again = intervals.resampled(part, TRUTH, [SHARES], 50)
    np.testing.assert_array_equal(first, again[0])


def test_very_many_rows_are_resampled_less_often(monkeypatch):
    monkeypatch.setattr(intervals, "ALTOGETHER", 30_000)
    monkeypatch.setattr(intervals, "AT_ONCE", 3_000)
    [found] = intervals.resampled(registry.part("metrics", "mae"), NUMBERS, [ANSWERS], 200)
    assert found.shape == (100,)


def test_no_rows_or_no_resamples_have_no_interval():
    part = registry.part("metrics", "mae")
    for truth, count in ((NUMBERS[:0], 10), (NUMBERS, 0)):
        [found] = intervals.resampled(part, truth, [truth], count)
        assert np.isnan(intervals.interval(found)).all()


def test_quarters_come_from_the_known_rows_and_missing_numbers_are_a_slice():
    known = {"x": np.arange(101, dtype="float32")}
    columns = {"x": np.array([0, 25, 26, 60, 1000, np.nan], dtype="float32")}
    found = {one.value: one.rows.tolist() for one in slices.cut(["x"], columns, known)}
    assert found == {
        "up to 25": [True, True, False, False, False, False],
        "above 25 up to 50": [False, False, True, False, False, False],
        "above 50 up to 75": [False, False, False, True, False, False],
        "above 75": [False, False, False, False, True, False],
        "(missing)": [False, False, False, False, False, True],
    }


def test_rare_and_unseen_values_are_one_slice():
    known = {"c": np.array([f"v{index // 2:02}" for index in range(60)])}
    columns = {"c": np.array(["v00", "v29", "new", ""])}
    found = {one.value: one.rows.tolist() for one in slices.cut(["c"], columns, known)}
    assert found["v00"] == [True, False, False, False]
    assert found["(other)"] == [False, True, True, False]
    assert found["(missing)"] == [False, False, False, True]


def test_a_column_that_is_always_missing_is_one_slice():
    nothing = {"x": np.full(4, np.nan, dtype="float32")}
    [one] = slices.cut(["x"], nothing, nothing)
    assert (one.value, one.rows.all()) == ("(missing)", True)


def test_one_column_alone_has_no_importance():
    part = registry.part("metrics", "mae")
    assert importance(part, NUMBERS, {"x": NUMBERS}, lambda columns: columns["x"]) == {}


def test_a_column_the_model_ignores_costs_nothing_when_shuffled():
    part = registry.part("metrics", "mae")
    columns = {"used": NUMBERS, "ignored": ANSWERS}
    found = importance(part, NUMBERS, columns, lambda asked: asked["used"])
    assert list(found) == ["used", "ignored"]
    assert found["ignored"] == {"mean": 0.0, "spread": 0.0}
    assert found["used"]["mean"] == pytest.approx(2 / np.sqrt(np.pi), rel=0.15)
