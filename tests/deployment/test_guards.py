"""Each bad model is stopped before it does harm: which guard sees it, and what it says."""

from __future__ import annotations

import json
import shutil

import pytest

from pipeline_tasks import loop
from tests.deployment.conftest import bad
from tests.small import csv_text


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize(
    ("model", "limits", "said"),
    [
        (bad("nan_everywhere"), {}, "16 of 16 answers are NaN or infinite"),
        (bad("slow", rounds=500), {"latency_p99_ms": 5}, "where 5 ms are the limit"),
    ],
    ids=["NaN", "slow"],
)
def test_verify_refuses_before_traffic_and_the_history_says_why(small, model, limits, said):
    made = small(model=model, deployment=limits, export={"serve": "tensorflow"})
    left = made.steps()
    assert list(left)[-1] == "verify"
    assert left["verify"].summary["answer"] == "no"
    assert said in left["verify"].summary["reasons"]
    store = made.run().store
    assert store.champion("small") is None
    assert [entry.event for entry in store.history("small")] == ["refusal"]
    assert not (store.root / "small" / "archive").exists()


def test_answers_other_than_the_trained_models_are_seen_by_verify(small):
    """Labels swapped between training and serving: the golden questions were answered before."""
    made = small()
    run = made.run("swapped")
    exported = run.open(made.steps(until="export")["export"])
    with run.write("exported") as draft:
        ignored = shutil.ignore_patterns("manifest.json")
        shutil.copytree(exported, draft.folder, dirs_exist_ok=True, ignore=ignored)
        path = draft.folder / "assets.extra" / "golden.json"
        golden = json.loads(path.read_text())
        for answer in golden["predictions"]:
            answer["label"] = 1 - answer["label"]
        path.write_text(json.dumps(golden))
    left = loop.function("verify")(run, exported=draft.done())
    assert left.summary["answer"] == "no"
    assert "the server answers golden question 1 with" in left.summary["reasons"]


def test_labels_swapped_in_the_data_are_seen_by_the_gate(small):
    """A first model needs its minimum; a later one must not fall behind on labelled production."""
    made = small(promotion={"minimum": 0.7})
    made.steps("first")
    rows = csv_text().splitlines()
    half = [row[:-1] + str(1 - int(row[-1])) if n % 2 else row for n, row in enumerate(rows[1:])]
    made.csv.write_text("\n".join([rows[0], *half]) + "\n")
    left = made.steps("second")
    assert list(left)[-1] == "gate"
    assert left["gate"].summary["answer"] == "no"
