"""`schema infer` proposes columns that the very data passes, and leaves what is declared."""

from __future__ import annotations

import sys

import pytest
import yaml

from pipeline_tasks import __main__
from pipeline_tasks.data import inferring


@pytest.fixture
def made(small):
    made = small(columns={"width": {"type": "number", "min": -10}})
    lines = made.csv.read_text().splitlines()
    more = ["when,number,note"]
    more += [
        f"2026-01-{1 + n % 28:02},{n},the {n}th of so many notes" for n in range(len(lines) - 1)
    ]
    made.csv.write_text("\n".join(",".join(pair) for pair in zip(lines, more, strict=True)))
    return made


def test_types_ranges_values_and_keys_are_proposed(made):
    found = inferring.propose(made.run().config)
    assert list(found) == ["width", "height", "colour", "when", "number", "note"]
    assert found["width"]["min"] == -10
    assert -10 < found["width"]["max"] < 10
    assert found["height"]["type"] == "number"
    assert found["height"]["nullable"]
    assert found["colour"] == {"type": "category", "values": ["blue", "green", "red"]}
    assert found["when"] == {"type": "date"}
    assert found["number"] == {"type": "number", "min": 0, "max": 399, "unique": True}
    assert found["note"] == {"type": "text", "unique": True}


def test_the_command_prints_yaml_that_the_data_passes(made, monkeypatch, capsys):
    monkeypatch.setenv("PERENNIAL_PIPELINES", str(made.folder))
    monkeypatch.setattr(sys, "argv", ["pipeline_tasks", "schema", "infer", "small"])
    assert __main__.main() == 0
    proposed = yaml.safe_load(capsys.readouterr().out)
    content = yaml.safe_load(made.yaml.read_text()) | proposed
    made.yaml.write_text(yaml.safe_dump(content, sort_keys=False))
    summary = made.steps(until="check")["check"].summary
    assert summary["rows"] == 400
    assert "undeclared_columns" not in summary


def test_images_keep_their_shape(monkeypatch):
    from pipeline_tasks import config

    found = inferring.propose(config.named("digits"))
    assert found == {"image": {"type": "image", "shape": [8, 8], "min": 0, "max": 16}}
