"""Training that goes on from the champion's weights, and when it does not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline_tasks.data import rows
from tests.small import Small, csv_text, write_small

STILL = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-9, "patience": 0, "start": "champion"}


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A pipeline with a champion."""
    made = write_small(tmp_path_factory.mktemp("warm"))
    made.steps("first")
    return made


def weights(made: Small, run_id: str) -> list[np.ndarray]:
    folder = made.folder / "store" / "small" / "runs" / run_id / "model"
    return list(rows.read_arrays(folder / "weights.npz").values())


def rewritten(made: Small, folder: Path, **changes: object) -> Small:
    """The same store with another pipeline file, and other rows to learn from."""
    other = write_small(folder, **changes)
    other.csv.write_text(csv_text(seed=5))
    return Small(made.folder, other.csv, other.yaml)


def test_it_begins_with_the_champions_weights(champion, tmp_path):
    made = rewritten(champion, tmp_path, training=STILL)
    made.steps("warm", until="train")
    for mine, its in zip(weights(made, "warm"), weights(made, "first"), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": {"kind": "mlp", "hidden": [9]}}, "their shapes are"),
        ({"model": {"kind": "logistic_regression"}}, "they are of a mlp"),
        ({"label": {"name": "kind", "classes": [1, 0]}}, "they are of another label"),
        (
            {
                "columns": {
                    "width": {"type": "number"},
                    "height": {"type": "number", "nullable": True},
                    "colour": {"type": "category"},
                }
            },
            "the values of colour are numbered otherwise",
        ),
    ],
    ids=["shapes", "family", "label", "words"],
)
def test_weights_that_do_not_fit_are_left_and_the_log_says_why(
    champion, tmp_path, caplog, changes, why
):
    made = rewritten(champion, tmp_path, training=STILL, **changes)
    if "columns" in changes:
        made.csv.write_text(made.csv.read_text().replace("red", "pink"))
    name = f"warm {why}"
    with caplog.at_level(logging.WARNING):
        left = made.steps(name, until="train")
    assert f"begins afresh, and not from the weights of first: {why}" in caplog.text
    assert not (made.run().open(left["train"]) / "start.json").exists()


def test_it_is_judged_by_the_same_gate_and_a_run_without_news_trains_nothing(small):
    made = small(training=STILL | {"epochs": 5, "learning_rate": 0.01})
    assert not (made.run().open(made.steps("first")["train"]) / "start.json").exists()
    made.csv.write_text(csv_text(seed=5))
    left = made.steps("second")
    assert not left["train"].reused
    assert "against the champion's" in left["gate"].summary["reasons"]
    assert left["deploy"].summary["version"] == 2
    again = made.steps("third")
    assert again["train"].reused
    assert "the champion itself" in again["gate"].summary["reasons"]
    made.steps("forced", until="train", force=True)
    for mine, its in zip(weights(made, "forced"), weights(made, "second"), strict=True):
        np.testing.assert_array_equal(mine, its)
