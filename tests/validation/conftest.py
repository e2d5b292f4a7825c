"""Two small pipelines through the whole loop, once: one for classes, one for a number."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from pipeline_tasks.data import rows
from tests.small import Small, write_small

EVERY_METRIC_OF_CLASSES = [
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "precision_micro",
    "recall_micro",
    "f1_micro",
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "calibration_error",
]
SLICES = ["colour", "height"]


def write_numbers(folder, **changes) -> Small:
    """`y` is 3 width - 2 height and a little noise; every tenth height is missing."""
    random = np.random.default_rng(5)
    width, height = random.normal(size=(2, 500)).round(4)
    y = (3 * width - 2 * height + random.normal(scale=0.2, size=500)).round(4)
    lines = [
        f"{w},{'' if index % 10 == 0 else h},{'wet' if w > 0.5 else 'dry'},{target}"
        for index, (w, h, target) in enumerate(zip(width, height, y, strict=True))
    ]
    path = folder / "rows.csv"
    path.write_text("\n".join(["width,height,weather,y", *lines]) + "\n")
    content = {
        "description": "How far the ball flies.",
        "source": {"kind": "csv", "path": str(path)},
        "columns": {
            "width": {"type": "number"},
            "height": {"type": "number", "nullable": True},
            "weather": {"type": "category"},
        },
        "label": {"name": "y", "type": "number"},
        "model": {"kind": "linear_regression"},
        "evaluation": {"slices": ["weather"]},
        "target": {"kind": "archive"},
    }
    pipeline = folder / "numbers.yaml"
    pipeline.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return Small(folder=folder, csv=path, yaml=pipeline)


class Done:
    """A loop that has been run, and what evaluate has left."""

    def __init__(self, made: Small, left) -> None:
        self.made, self.left, self.run = made, left, made.run()
        self.folder = self.run.open(left["evaluate"])
        self.report = json.loads((self.folder / "evaluation.json").read_text())
        self.test = self.report["splits"]["test"]
        self.curves = json.loads((self.folder / "curves.json").read_text())
        self.kept = rows.read_arrays(self.folder / "predictions.npz")
        self.columns = rows.read_arrays(self.run.open(left["prepare"]) / "test.npz")


@pytest.fixture(scope="session")
def classes(tmp_path_factory) -> Done:
    made = write_small(
        tmp_path_factory.mktemp("classes"),
        description="Tells two kinds apart.",
        metrics=EVERY_METRIC_OF_CLASSES,
        evaluation={"slices": SLICES},
    )
    return Done(made, made.steps("first"))


@pytest.fixture(scope="session")
def numbers(tmp_path_factory) -> Done:
    made = write_numbers(tmp_path_factory.mktemp("numbers"))
    return Done(made, made.steps("first"))
