"""Curves and gaps that say too little was learned, or by heart, and what to change about it."""

from __future__ import annotations

import json

import pytest

from pipeline_tasks.validation.diagnosis import Evidence, diagnose

MODEL = {"hidden": [64, 32], "dropout": 0.1, "l2": 0.001}
TRAINING = {"epochs": 6, "patience": 0, "learning_rate": 0.01}
GOOD = {
    "loss": [0.6, 0.4, 0.31, 0.302, 0.301, 0.3],
    "validation_loss": [0.6, 0.41, 0.32, 0.312, 0.311, 0.3105],
    "losses": {"train": 0.3, "validation": 0.31, "test": 0.31},
    "naive": 0.69,
}


def found(**changes):
    evidence = {"rows": 500, "model": MODEL, "training": TRAINING} | GOOD | changes
    return diagnose(Evidence(**evidence))


def test_curves_that_go_down_together_need_nothing():
    diagnosis = found()
    assert diagnosis.fit == "good"
    assert diagnosis.hints == ()
    assert "0.3 on training rows and 0.31 on validation rows" in diagnosis.findings[0]


def test_a_validation_loss_that_rises_again_is_overfit_and_asks_for_fewer_epochs():
    diagnosis = found(
        loss=[0.6, 0.4, 0.3, 0.2, 0.1, 0.05], validation_loss=[0.6, 0.45, 0.4, 0.45, 0.5, 0.6]
    )
    assert diagnosis.fit == "overfit"
    assert "after epoch 3 the validation loss rose from 0.4 to 0.6" in diagnosis.findings[0]
    hints = "; ".join(diagnosis.hints)
    assert "lower training.epochs to about 3, or set training.patience (now 0)" in hints
    assert "raise model.dropout (now 0.1)" in hints
    assert "raise model.l2 (now 0.001)" in hints
    assert "fewer units in model.hidden (now 64, 32)" in hints
    assert "500 rows were trained on" in hints


def test_a_slight_rise_before_early_stopping_is_no_overfitting():
    diagnosis = found(
        loss=[2.0, 1.0, 0.2, 0.05, 0.04], validation_loss=[2.0, 1.0, 0.08, 0.09, 0.095]
    )
    assert diagnosis.fit == "good"


def test_training_rows_that_are_answered_far_better_are_overfit():
    diagnosis = found(losses={"train": 0.05, "validation": 0.4, "test": 0.4})
    assert diagnosis.fit == "overfit"
    assert "0.05 on training rows but 0.4 on validation rows" in diagnosis.findings[0]
    assert not any("epochs" in hint for hint in diagnosis.hints)


def test_a_family_without_a_setting_is_not_told_to_change_it():
    losses = {"train": 0.05, "validation": 0.4, "test": 0.4}
    diagnosis = found(model={}, losses=losses, validation_loss=[0.4], loss=[0.1])
    assert diagnosis.hints == ("bring more data: 500 rows were trained on",)


def test_a_model_that_hardly_beats_the_naive_one_is_underfit_and_asks_for_more_units():
    losses = {"train": 0.66, "validation": 0.67, "test": 0.67}
    diagnosis = found(losses=losses, loss=[0.67, 0.66], validation_loss=[0.67, 0.67])
    assert diagnosis.fit == "underfit"
    hints = "; ".join(diagnosis.hints)
    assert "lower model.dropout (now 0.1)" in hints
    assert "more units in model.hidden (now 64, 32)" in hints
    assert "add columns" in hints


def test_a_curve_that_is_still_falling_asks_for_more_epochs():
    diagnosis = found(loss=[0.6, 0.5, 0.4], validation_loss=[0.6, 0.5, 0.4])
    assert diagnosis.fit == "underfit"
    assert "still falling in the last epoch, 3" in diagnosis.findings[0]
    assert "raise training.epochs (now 6)" in diagnosis.hints[0]
    assert "training.learning_rate (now 0.01)" in diagnosis.hints[0]


def test_test_rows_that_are_harder_than_validation_rows_are_told():
    diagnosis = found(losses={"train": 0.3, "validation": 0.31, "test": 0.6})
    assert diagnosis.fit == "good"
    assert "0.6 on test rows but 0.31 on validation rows" in diagnosis.findings[0]


def test_a_label_that_never_varies_teaches_nothing_and_breaks_nothing():
    losses = {"train": 0.0, "validation": 0.0, "test": 0.0}
    assert found(losses=losses, naive=0.0).fit == "good"


@pytest.mark.parametrize(
    ("training", "model", "fit"),
    [
        (
            {"epochs": 150, "batch_size": 16, "learning_rate": 0.02, "patience": 0},
            {"kind": "mlp", "hidden": [128, 128]},
            "overfit",
        ),
        (
            {"epochs": 2, "batch_size": 64, "learning_rate": 0.0005, "patience": 0},
            {"kind": "mlp", "hidden": [2]},
            "underfit",
        ),
    ],
)
def test_real_training_that_goes_wrong_is_noticed(small, training, model, fit):
    made = small(training=training, model=model)
    left = made.steps(until="evaluate")
    report = json.loads((made.run().open(left["evaluate"]) / "evaluation.json").read_text())
    assert report["diagnosis"]["fit"] == fit, report["diagnosis"]
    assert report["diagnosis"]["hints"]
