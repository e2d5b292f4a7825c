"""Quality without labels: how often the band holds what labels show, and when it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_tasks.validation.estimating import (
    Calibrated,
    ErrorModel,
    calibrate,
    estimate_accuracy,
    estimate_error,
    learn_errors,
)


def answered(random, rows, shift=0.0):
    """Confidence of an over-confident model, and whether it was right."""
    x = random.normal(size=rows) + shift
    truth = random.random(rows) < 1 / (1 + np.exp(-2 * x))
    score = 1 / (1 + np.exp(-4 * x))
    return np.maximum(score, 1 - score), (score > 0.5) == truth


def predicted(random, rows, shift=0.0):
    """What a regression was asked and answered, and how wrong it was: more so far from 0."""
    x = random.normal(size=(2, rows))
    x[0] += shift
    errors = np.abs(random.normal(size=rows)) * (0.5 + np.abs(x[0]))
    return {"x": x[0], "other": x[1], "answer": x.sum(axis=0)}, errors


def test_the_band_holds_the_accuracy_when_the_inputs_move():
    inside = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        calibrated = calibrate(*answered(random, 3000))
        confidence, is_right = answered(random, 1000, shift=seed % 3 * 0.5)
        found = estimate_accuracy(calibrated, confidence)
        inside += found.low <= is_right.mean() <= found.high
        assert abs(found.value - is_right.mean()) < abs(confidence.mean() - is_right.mean()) + 0.01
    # 95 % of 60 are 57; 52 or fewer would be chance once in a hundred times.
    assert inside > 52


def test_a_world_that_moves_without_its_inputs_is_not_seen():
    random = np.random.default_rng(1)
    calibrated = calibrate(*answered(random, 3000))
    confidence, is_right = answered(random, 3000)
    flipped = is_right ^ (random.random(3000) < 0.2)
    assert estimate_accuracy(calibrated, confidence).low > flipped.mean()


def test_calibrated_shares_never_fall_and_come_back_from_json():
    calibrated = calibrate(*answered(np.random.default_rng(2), 3000))
    assert list(calibrated.shares) == sorted(calibrated.shares)
    assert sum(calibrated.rows) == 3000
    assert Calibrated.model_validate_json(calibrated.model_dump_json()) == calibrated
    sklearn = pytest.importorskip("sklearn.isotonic")
    confidence, is_right = answered(np.random.default_rng(2), 3000)
    wanted = sklearn.IsotonicRegression().fit(confidence, is_right).predict(confidence)
    steps = np.searchsorted(calibrated.starts, confidence, side="right") - 1
    ours = np.array(calibrated.shares)[steps]
    assert np.abs(ours - wanted).mean() < 0.01


def test_a_model_that_was_always_right_still_has_a_band():
    calibrated = calibrate(np.full(100, 0.9), np.ones(100, dtype=bool))
    found = estimate_accuracy(calibrated, np.full(50, 0.9))
    assert found.value == found.high == 1
    assert found.low < 1
    assert estimate_accuracy(calibrated, np.array([0.1])).rows == 1


def test_the_error_of_a_regression_is_estimated_where_its_inputs_moved():
    inside, ours, constant = 0, [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        columns, errors = predicted(random, 3000)
        model = learn_errors(columns, errors)
        columns, errors = predicted(random, 1000, shift=seed % 3 * 0.5)
        found = estimate_error(model, columns)
        inside += found.low <= errors.mean() <= found.high
        ours.append(found.value - errors.mean())
        constant.append(model.mean - errors.mean())
    assert inside > 52
    assert np.square(ours).mean() < 0.2 * np.square(constant).mean()
    assert ErrorModel.model_validate_json(model.model_dump_json()) == model


def test_every_kind_of_column_tells_of_errors():
    random = np.random.default_rng(3)
    plan = random.choice(["basic", "plus", ""], size=3000)
    note = np.array(["short", "a much longer note"], dtype=object)[random.integers(0, 2, 3000)]
    columns = {"plan": plan, "note": note, "gap": np.where(plan == "", np.nan, 1.0)}
    errors = 1 + (plan == "plus") + (note == "short") + 0.1 * random.normal(size=3000)
    model = learn_errors(columns, errors)
    rows = (plan == "plus") & (note == "short")
    found = estimate_error(model, {name: values[rows] for name, values in columns.items()})
    assert found.value == pytest.approx(3, abs=0.1)
    assert found.low < 3 < found.high
