"""Each metric equals scikit-learn's on random answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline_tasks.core import registry

REFERENCES = {
    "accuracy": reference.accuracy_score,
    "precision": lambda t, p: reference.precision_score(t, p, average="macro", zero_division=0),
    "recall": lambda t, p: reference.recall_score(t, p, average="macro", zero_division=0),
    "f1": lambda t, p: reference.f1_score(t, p, average="macro", zero_division=0),
}


def test_every_metric_has_a_reference():
    assert sorted(REFERENCES) == registry.known("metrics")


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_metric_equals_scikit_learn(name, classes):
    random = np.random.default_rng(classes)
    compute = registry.part("metrics", name).compute
    for rows in (1, 7, 500):
        truth, predicted = random.integers(0, classes, size=(2, rows))
        assert compute(truth, predicted) == pytest.approx(REFERENCES[name](truth, predicted))


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_a_metric_of_no_rows_is_not_a_number(name):
    assert np.isnan(registry.part("metrics", name).compute([], []))
