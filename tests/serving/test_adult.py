"""adult.csv, mixed types and `?` for missing: deployed, and asked over REST with raw rows."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import yaml

from pipeline_tasks import config, loop
from pipeline_tasks.core.store import Store
from pipeline_tasks.run import Run
from pipeline_tasks.serving.client import Client
from tests.server import PROJECT, Server

DATA = Path(os.environ.get("PERENNIAL_TEST_DATA") or PROJECT.parent / "shared" / "data")
ADULT = DATA / "adult.csv"
NUMBERS = ["age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
UNKNOWN = {"replace": {"?": None}, "nullable": True}
CATEGORIES = {
    "workclass": UNKNOWN,
    "education": {},
    "marital_status": {},
    "occupation": UNKNOWN,
    "relationship": {},
    "race": {},
    "sex": {},
    "native_country": UNKNOWN,
}
PIPELINE = {
    "source": {"kind": "csv", "path": str(ADULT)},
    "columns": {name: {"type": "number"} for name in NUMBERS}
    | {name: {"type": "category", **rules} for name, rules in CATEGORIES.items()},
    "label": {"name": "income", "classes": ["<=50K", ">50K"]},
    "split": {"by": "label", "validation": 0.15, "test": 0.15},
    "preparation": {
        "features": {
            "work and school": {"kind": "cross", "of": ["workclass", "education"]},
            "gain an hour": {"kind": "ratio", "of": ["capital_gain", "hours_per_week"]},
        }
    },
    "model": {"kind": "wide_deep", "hidden": [64, 32], "dropout": 0.1},
    "training": {"epochs": 6, "batch_size": 256, "learning_rate": 0.004, "schedule": "one_cycle"},
    "metrics": ["accuracy", "roc_auc", "f1", "log_loss", "calibration_error"],
    "evaluation": {"slices": ["sex", "race"]},
    "deployment": {"bake_minutes": 0.02},
    "promotion": {"metric": "roc_auc", "minimum": 0.88},
}

pytestmark = pytest.mark.skipif(not ADULT.is_file(), reason=f"needs {ADULT}")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """A server that answers for adult, and what each step left."""
    folder = tmp_path_factory.mktemp("adult")
    server = Server(folder).start()
    (folder / "adult.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    run = Run(
        config=config.load(folder / "adult.yaml"),
        id="run",
        store=Store(server.store),
        models=server.models,
        server=server.url,
    )
    yield server, dict(loop.run_steps(run)), run
    server.kill()


def test_it_is_trained_well_and_deployed(deployed):
    _, left, _ = deployed
    assert list(left)[-1] == "bake", left["gate"].summary
    assert left["evaluate"].summary["test_candidate_roc_auc"] > 0.9
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.845


def test_raw_rows_are_answered_over_rest_question_marks_and_missing_values_included(deployed):
    server, _, run = deployed
    with ADULT.open() as file:
        raw = list(csv.DictReader(file))[:2000]
    rows = [
        {name: float(row[name]) for name in NUMBERS} | {name: row[name] for name in CATEGORIES}
        for row in raw
    ]
    assert any(row["workclass"] == "?" for row in rows)
    with Client(server.url) as client:
        answers, version, _ = client.predict("adult", rows, is_probe=True)
        unknown = [row | {"workclass": "?"} for row in rows[:50]]
        missing = [row | {"workclass": ""} for row in rows[:50]]
        by_mark, by_nothing = (
            client.predict("adult", some, is_probe=True)[0] for some in (unknown, missing)
        )
        new = client.predict("adult", [rows[0] | {"native_country": "Atlantis"}], is_probe=True)[0]
    assert version == 1
    right = sum(one["label"] == row["income"] for one, row in zip(answers, raw, strict=True))
    assert right / len(raw) > 0.83
    assert by_mark == by_nothing
    assert new[0]["label"] in run.config.label.classes


def test_the_slices_and_the_card_say_how_it_does_for_whom(deployed):
    _, left, run = deployed
    card = (run.open(left["deploy"]) / "card.md").read_text()
    for words in ("Female", "Male", "roc_auc", "naive"):
        assert words in card, card
