"""The gate on real models: refused for a slice, for a threshold, for a worse number."""

from __future__ import annotations

import numpy as np
import pytest

from tests.small import write_small
from tests.validation.conftest import write_numbers

NETWORK = {"kind": "mlp", "hidden": [16]}
LINE = {"kind": "logistic_regression"}
RULES = {"margin": 1.0, "minimum_rows": 20}


def write_rare_red(folder):
    """In one row of four, the red ones, the label is the other way round: no line can have that."""
    random = np.random.default_rng(3)
    width = random.normal(size=900).round(4)
    colour = np.where(random.random(900) < 0.25, "red", "green")
    kind = (width > 0) ^ (colour == "red")
    made = write_small(
        folder,
        columns={
            "width": {"type": "number"},
            "colour": {"type": "category", "values": ["red", "green"]},
        },
        model=NETWORK,
        training={"epochs": 30, "batch_size": 32, "learning_rate": 0.02},
        evaluation={"slices": ["colour"]},
        promotion=RULES,
    )
    lines = [f"{w},{c},{int(k)}" for w, c, k in zip(width, colour, kind, strict=True)]
    made.csv.write_text("\n".join(["width,colour,kind", *lines]) + "\n")
    return made


def test_a_candidate_that_is_worse_in_a_slice_is_refused(tmp_path):
    made = write_rare_red(tmp_path)
    assert made.steps("first")["gate"].summary["answer"] == "yes"
    text = made.yaml.read_text()
    made.yaml.write_text(
        text.replace("kind: mlp", "kind: logistic_regression").replace("  hidden:\n  - 16\n", "")
    )
    verdict = made.steps("second")["gate"].summary
    assert verdict["answer"] == "no"
    assert "slice colour red: accuracy" in verdict["reasons"]
    assert "it may be worse by 1, or more if" in verdict["reasons"]
    assert "McNemar's test p" in verdict["reasons"]
    assert made.run().store.champion("small").version == 1
    made.yaml.write_text(made.yaml.read_text() + "  slice_margin: 1.0\n")
    allowed = made.steps("third")["gate"].summary
    assert allowed["answer"] == "yes"
    assert "in none of 2 slices" in allowed["reasons"]


@pytest.mark.parametrize(
    ("rules", "answer", "reason"),
    [
        ({"minimum": 0.5}, "yes", "is at most the maximum 0.5"),
        ({"minimum": 0.001}, "no", "is not at most the maximum 0.001"),
        ({"thresholds": {"r2": 0.9}}, "yes", "is at least the minimum 0.9"),
        ({"maximum_bytes": 10}, "no", "above the limit 10"),
        ({"minimum_rows": 10_000}, "not_enough_data", "10000 needed to prove anything"),
    ],
)
def test_a_number_is_judged_in_its_metrics_direction(tmp_path, rules, answer, reason):
    made = write_numbers(tmp_path, promotion=rules)
    summary = made.steps(until="gate")["gate"].summary
    assert summary["answer"] == answer
    assert reason in summary["reasons"]


def test_worse_numbers_do_not_replace_better_ones(tmp_path):
    made = write_numbers(tmp_path)
    made.steps("first")
    text = made.yaml.read_text()
    made.yaml.write_text(
        text.replace("kind: linear_regression", "kind: linear_regression\n  l2: 5.0")
    )
    summary = made.steps("second")["gate"].summary
    assert summary["answer"] == "no"
    assert "lower is better, it may be worse by 0, or" in summary["reasons"]
    assert "paired bootstrap p 0 that it is worse by chance" in summary["reasons"]
