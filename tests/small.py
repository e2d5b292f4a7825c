"""A small real pipeline for tests: 400 rows, two numbers, a category, two classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from pipeline_tasks import config, loop
from pipeline_tasks.core.store import store_at
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run

THREE_MISTAKES = """\
source: {kind: cvs, path: rows.csv}
columns:
  width: {type: number}
label: {name: kind, classes: [0, 1]}
model:
  kind: mlp
  dropout: 1.5
training:
  epochs: many
"""

ROWS = 400


@dataclass
class Small:
    """Where everything of one small pipeline is; the store is in the folder, or under `uri`."""

    folder: Path
    csv: Path
    yaml: Path
    uri: str = ""

    def run(self, run_id: str = "run", **changes: object) -> Run:
        """A run of the pipeline as its file says now."""
        return Run(
            config=config.load(self.yaml),
            id=run_id,
            store=store_at(self.uri or str(self.folder / "store"), self.folder / "home"),
            models=self.folder / "models",
            **changes,  # type: ignore[arg-type]
        )

    def steps(
        self, run_id: str = "run", until: str = "deploy", **changes: object
    ) -> dict[str, Ref]:
        """What each step left, up to and with `until`."""
        return dict(loop.run_steps(self.run(run_id, **changes), until=until))


def write_small(folder: Path, **changes: object) -> Small:
    """Write CSV and YAML; `changes` replace top-level keys of the YAML."""
    path = folder / "rows.csv"
    path.write_text(csv_text())
    content = {
        "source": {"kind": "csv", "path": str(path)},
        "columns": {
            "width": {"type": "number", "min": -10, "max": 10},
            "height": {"type": "number", "nullable": True},
            "colour": {"type": "category", "values": ["red", "green", "blue"]},
        },
        "label": {"name": "kind", "classes": [0, 1]},
        "model": {"kind": "mlp", "hidden": [8], "l2": 0.001, "dropout": 0.1},
        "training": {"epochs": 5, "batch_size": 32, "learning_rate": 0.03, "patience": 0},
        "target": {"kind": "archive"},
    }
    pipeline = folder / "small.yaml"
    pipeline.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return Small(folder=folder, csv=path, yaml=pipeline)


def csv_text(rows: int = ROWS, seed: int = 1) -> str:
    """`kind` is 1 where width + height > 0, more or less; every tenth height is missing."""
    random = np.random.default_rng(seed)
    width, height = random.normal(size=(2, rows)).round(4)
    kind = (width + height + random.normal(scale=0.3, size=rows) > 0).astype(int)
    colour = random.choice(["red", "green", "blue"], size=rows)
    lines = [
        f"{w},{'' if index % 10 == 0 else h},{c},{k}"
        for index, (w, h, c, k) in enumerate(zip(width, height, colour, kind, strict=True))
    ]
    return "\n".join(["width,height,colour,kind", *lines]) + "\n"
