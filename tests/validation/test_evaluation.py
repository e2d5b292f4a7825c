"""What evaluate measures on a real model, against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline_tasks import loop
from pipeline_tasks.core import registry
from pipeline_tasks.metrics import taken
from tests.validation.conftest import EVERY_METRIC_OF_CLASSES, write_numbers


def test_figures_are_scikit_learns(classes):
    shares, truth = classes.kept["test_probabilities"], classes.kept["test_label"]
    said = shares.argmax(axis=1)
    candidate = classes.test["candidate"]
    assert classes.test["rows"] == len(truth)
    assert candidate["accuracy"] == pytest.approx(reference.accuracy_score(truth, said))
    assert candidate["roc_auc"] == pytest.approx(reference.roc_auc_score(truth, shares[:, 1]))
    assert candidate["log_loss"] == pytest.approx(reference.log_loss(truth, shares), rel=1e-5)
    assert candidate["f1"] == pytest.approx(reference.f1_score(truth, said, average="macro"))
    assert classes.test["confusion"] == reference.confusion_matrix(truth, said).tolist()


def test_figures_of_numbers_are_scikit_learns(numbers):
    values, truth = numbers.kept["test_values"], numbers.kept["test_label"]
    candidate = numbers.test["candidate"]
    assert candidate["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, values))
    assert candidate["mae"] == pytest.approx(reference.mean_absolute_error(truth, values))
    assert candidate["r2"] == pytest.approx(reference.r2_score(truth, values))
    assert numbers.test["confusion"] is None
    assert numbers.test["by_class"] == []


@pytest.mark.parametrize("which", ["classes", "numbers"])
def test_every_metric_lies_in_its_interval_and_beside_a_naive_one(which, request):
    test = request.getfixturevalue(which).test
    for kind, value in test["candidate"].items():
        low, high = test["intervals"]["candidate"][kind]
        if kind != "calibration_error":  # resampled rows are calibrated worse: the bins are fewer
            assert low <= value <= high
        part = registry.part("metrics", kind)
        naive = test["baseline"][kind]
        if kind not in ("calibration_error",):
            assert (value > naive) is part.HIGHER_IS_BETTER, kind


def test_the_naive_answer_is_what_the_training_rows_have(classes, numbers):
    from pipeline_tasks.data import rows

    train = rows.read_arrays(classes.run.open(classes.left["prepare"]) / "train.npz")["_label"]
    frequent = np.bincount(train).argmax()
    share = float((classes.columns["_label"] == frequent).mean())
    assert classes.test["baseline"]["accuracy"] == pytest.approx(share)
    train = rows.read_arrays(numbers.run.open(numbers.left["prepare"]) / "train.npz")["_label"]
    errors = numbers.columns["_label"] - train.mean()
    assert numbers.test["baseline"]["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-5)


def test_slices_hold_every_row_once_and_their_own_figures(classes):
    truth, said = classes.kept["test_label"], classes.kept["test_probabilities"].argmax(axis=1)
    for column in ("colour", "height"):
        found = [one for one in classes.test["slices"] if one["column"] == column]
        assert sum(one["rows"] for one in found) == len(truth)
    for one in classes.test["slices"]:
        if one["column"] == "colour":
            mine = classes.columns["colour"] == one["value"]
            assert one["candidate"]["accuracy"] == pytest.approx((truth == said)[mine].mean())
    values = {one["value"] for one in classes.test["slices"] if one["column"] == "height"}
    assert len(values) == 5
    assert "(missing)" in values


def test_each_class_has_its_counts_and_figures(classes):
    truth, said = classes.kept["test_label"], classes.kept["test_probabilities"].argmax(axis=1)
    precision, recall, f1, rows_of = reference.precision_recall_fscore_support(truth, said)
    for index, one in enumerate(classes.test["by_class"]):
        assert one["class"] == index
        assert one["rows"] == rows_of[index]
        assert one["predicted"] == (said == index).sum()
        assert [one["precision"], one["recall"], one["f1"]] == pytest.approx(
            [precision[index], recall[index], f1[index]]
        )


def test_curves_have_the_areas_that_the_metrics_say(classes):
    [curve] = classes.curves["splits"]["test"]["by_class"]
    area = reference.auc([0, *curve["false_positive_rate"]], [0, *curve["true_positive_rate"]])
    assert area == pytest.approx(classes.test["candidate"]["roc_auc"], abs=1e-6)
    reliability = classes.curves["splits"]["test"]["reliability"]
    assert sum(reliability["rows"]) == classes.test["rows"]
    right = np.dot(reliability["rows"], reliability["right"]) / classes.test["rows"]
    assert right == pytest.approx(classes.test["candidate"]["accuracy"])


@pytest.mark.parametrize("which", ["classes", "numbers"])
def test_pictures_are_drawn_of_the_curves(which, request):
    done = request.getfixturevalue(which)
    for name in ("test.png", "learning.png"):
        content = (done.folder / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 5000
    assert len(done.curves["learning"]["loss"]) >= 1


def test_a_column_that_makes_the_label_matters_and_one_that_does_not_hardly(classes):
    importance = classes.report["importance"]
    assert next(iter(importance)) in ("width", "height")
    assert importance["width"]["mean"] > 0.1
    assert abs(importance["colour"]["mean"]) < 0.05


def test_errors_are_worse_when_a_column_is_shuffled(numbers):
    importance = numbers.report["importance"]
    assert next(iter(importance)) == "width"
    assert importance["width"]["mean"] > importance["height"]["mean"] > 0


def test_evaluating_again_gives_the_same_numbers(classes):
    again = loop.function("evaluate")(
        classes.made.run("again", force=True),
        prepared=classes.left["prepare"],
        model=classes.left["train"],
    )
    report = json.loads((classes.run.open(again) / "evaluation.json").read_text())
    first, second = classes.test, report["splits"]["test"]
    for key in ("candidate", "intervals", "slices", "confusion"):
        assert first[key] == second[key]
    assert report["importance"] == classes.report["importance"]


def test_the_summary_holds_the_metrics_alone(classes):
    names = {f"test_candidate_{kind}" for kind in EVERY_METRIC_OF_CLASSES}
    assert set(classes.left["evaluate"].summary) == names


def test_slices_intervals_and_importance_can_be_left_out(tmp_path):
    made = write_numbers(tmp_path, evaluation={"importance": False, "bootstrap": 0})
    left = made.steps(until="deploy")
    assert left["gate"].summary["answer"] == "yes"
    report = json.loads((made.run().open(left["evaluate"]) / "evaluation.json").read_text())
    assert report["importance"] == {}
    assert report["splits"]["test"]["slices"] == []
    assert report["splits"]["test"]["intervals"] == {"candidate": {}}


def test_candidate_and_champion_are_judged_on_the_same_rows(classes):
    made = classes.made
    text = made.yaml.read_text()
    try:
        made.yaml.write_text(text.replace("epochs: 5", "epochs: 1"))
        left = made.steps("second", until="gate")
    finally:
        made.yaml.write_text(text)
    folder = made.run().open(left["evaluate"])
    report = json.loads((folder / "evaluation.json").read_text())
    test = report["splits"]["test"]
    assert report["champion_version"] == 1
    assert test["champion"] == pytest.approx(classes.test["candidate"], rel=1e-4, abs=1e-6)
    pair = json.loads((folder / "paired.json").read_text())["test"]["accuracy"]
    gain = (pair["only_candidate_right"] - pair["only_champion_right"]) / test["rows"]
    assert gain == pytest.approx(test["candidate"]["accuracy"] - test["champion"]["accuracy"])
    assert len(pair["differences"]) == 200
    assert np.mean(pair["differences"]) == pytest.approx(gain, abs=0.02)
    assert all(one["champion"] for one in test["slices"])


def test_a_metric_takes_labels_probabilities_or_values():
    shares = np.array([[0.2, 0.8], [0.9, 0.1]])
    assert taken("labels", shares).tolist() == [1, 0]
    assert taken("probabilities", shares) is shares
