"""Each metric equals scikit-learn's on random answers, and says nothing where it is not defined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from pipeline_tasks import metrics
from pipeline_tasks.core import registry


def of_ranking(score, *, needs_others):
    """One class against the rest, over the classes for which that is defined."""

    def compute(truth, shares):
        classes = [1] if shares.shape[1] == 2 else range(shares.shape[1])
        found = [
            score(truth == one, shares[:, one])
            for one in classes
            if (truth == one).any() and not (needs_others and (truth == one).all())
        ]
        return np.mean(found) if found else float("nan")

    return compute


def calibration_error(truth, shares):
    """Bin by bin, as the paper has it."""
    total = 0.0
    for index in range(15):
        confidence = shares.max(axis=1)
        is_in = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if is_in.any():
            right = (shares.argmax(axis=1) == truth)[is_in].mean()
            total += is_in.sum() * abs(right - confidence[is_in].mean())
    return total / len(truth)


def balanced_accuracy(truth, predicted):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are only predicted
        return reference.balanced_accuracy_score(truth, predicted)


def averaged(score, average):
    return lambda truth, predicted: score(truth, predicted, average=average, zero_division=0)


def log_loss(truth, shares):
    return reference.log_loss(truth, shares, labels=range(shares.shape[1]))


def brier(truth, shares):
    if shares.shape[1] == 2:
        return reference.brier_score_loss(truth, shares[:, 1], pos_label=1, labels=[0, 1])
    return reference.brier_score_loss(truth, shares, labels=range(shares.shape[1]))


def r2(truth, answer):
    return reference.r2_score(truth, answer) if np.ptp(truth) else float("nan")


REFERENCES = {
    "accuracy": reference.accuracy_score,
    "balanced_accuracy": balanced_accuracy,
    "precision": averaged(reference.precision_score, "macro"),
    "precision_micro": averaged(reference.precision_score, "micro"),
    "recall": averaged(reference.recall_score, "macro"),
    "recall_micro": averaged(reference.recall_score, "micro"),
    "f1": averaged(reference.f1_score, "macro"),
    "f1_micro": averaged(reference.f1_score, "micro"),
    "roc_auc": of_ranking(reference.roc_auc_score, needs_others=True),
    "pr_auc": of_ranking(reference.average_precision_score, needs_others=False),
    "log_loss": log_loss,
    "brier": brier,
    "calibration_error": calibration_error,
    "mae": reference.mean_absolute_error,
    "rmse": reference.root_mean_squared_error,
    "r2": r2,
}
EMPTY = {"labels": (0,), "probabilities": (0, 3), "values": (0,)}


def test_every_metric_has_a_reference():
    assert sorted(REFERENCES) == registry.known("metrics")


@st.composite
def answered(draw, needs):
    """(truth, answer): some with ties, some with rows of one class only."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, classes = draw(st.integers(2, 60)), draw(st.sampled_from([2, 3, 10]))
    if needs == "values":
        truth = random.normal(size=rows) * draw(st.sampled_from([0.0, 1.0, 1e4])) + 3
        return truth, truth + random.normal(size=rows)
    seen = draw(st.integers(1, classes))
    truth = random.integers(0, seen, size=rows)
    steps = draw(st.sampled_from([3, 1000]))
    shares = random.integers(1, steps, size=(rows, classes)).astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    return truth, metrics.taken(needs, shares)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_metric_equals_scikit_learn(name, data):
    part = registry.part("metrics", name)
    truth, answer = data.draw(answered(part.NEEDS))
    expected = REFERENCES[name](truth, answer)
    assert part.compute(truth, answer) == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_row_that_counts_twice_is_two_rows(name, data):
    part = registry.part("metrics", name)
    truth, answer = data.draw(answered(part.NEEDS))
    times = np.random.default_rng(len(truth)).integers(0, 4, size=(5, len(truth)))
    times[:, 0] += 1
    found = part.weighted(truth, answer, times.astype(float))
    for number, often in zip(found, times, strict=True):
        expected = part.compute(np.repeat(truth, often), np.repeat(answer, often, axis=0))
        assert number == pytest.approx(expected, abs=1e-6, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_a_metric_of_no_rows_is_not_a_number(name):
    part = registry.part("metrics", name)
    assert np.isnan(part.compute(np.zeros(0, dtype=int), np.zeros(EMPTY[part.NEEDS])))


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_a_perfect_answer_is_the_best_there_is(name):
    part = registry.part("metrics", name)
    truth = np.arange(30) % 3
    answer = {"labels": truth, "values": truth, "probabilities": np.eye(3)[truth]}[part.NEEDS]
    best = 1.0 if part.HIGHER_IS_BETTER else 0.0
    assert part.compute(truth, answer) == pytest.approx(best, abs=1e-12)


def test_numbers_that_are_all_the_same_have_no_variance_to_explain():
    r2_of = registry.part("metrics", "r2").compute
    assert np.isnan(r2_of([0.1, 0.1, 0.1], [0.1, 0.2, 0.3]))
    assert np.isnan(r2_of([5.0], [5.0]))


def test_a_ranking_of_one_class_alone_has_no_area():
    shares = [[0.2, 0.8], [0.6, 0.4]]
    assert np.isnan(registry.part("metrics", "roc_auc").compute([1, 1], shares))
    assert np.isnan(registry.part("metrics", "roc_auc").compute([0, 0], shares))
    assert np.isnan(registry.part("metrics", "pr_auc").compute([0, 0], shares))


def test_certainty_that_was_wrong_costs_a_finite_loss():
    shares = np.array([[1.0, 0.0]], dtype="float32")
    found = registry.part("metrics", "log_loss").compute([1], shares)
    assert found == pytest.approx(-np.log(np.finfo("float32").eps))


@pytest.mark.parametrize(
    ("kind", "task", "fits"),
    [
        ("accuracy", "binary", True),
        ("roc_auc", "multiclass", True),
        ("rmse", "regression", True),
        ("rmse", "binary", False),
        ("accuracy", "regression", False),
        ("log_loss", "regression", False),
    ],
)
def test_a_metric_that_does_not_fit_the_task_is_told_with_those_that_do(kind, task, fits):
    text = metrics.misfit(kind, task)
    assert (text == "") is fits
    if not fits:
        assert f"{kind} needs" in text
        assert ("mae, r2, rmse" in text) is (task == "regression")
