"""Columns whose names no client can send are called by others, from the source to the answer."""

from __future__ import annotations

import pytest
import yaml

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.data import inferring

ODD = "Färbe/日本 (x)"


def write_odd(small, **changes):
    columns = {
        "width": {"type": "number"},
        "height": {"type": "number", "nullable": True},
        "colour": {"type": "category", "from": ODD, "values": ["red", "green", "blue"]},
    }
    made = small(columns=columns | changes)
    header, *lines = made.csv.read_text().splitlines()
    made.csv.write_text("\n".join([header.replace("colour", ODD), *lines]) + "\n")
    return made


def test_a_column_is_called_otherwise_than_in_the_source(small):
    left = write_odd(small).steps(until="verify")
    assert "undeclared_columns" not in left["check"].summary
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.8
    assert left["verify"].summary["largest_difference"] <= 1e-5


@pytest.mark.parametrize("name", ["mean radius", "a-b", "é", "class", "self", "_x", "1st", "a/b"])
def test_a_name_that_no_client_can_send_is_a_mistake_with_a_way_out(small, name):
    made = small(columns={name: {"type": "number"}})
    with pytest.raises(
        ConfigError, match="no client can send this name; call it by another"
    ) as got:
        config.load(made.yaml)
    assert f"{{from: {name!r}, ...}}" in str(got.value)


def test_a_column_that_no_client_sends_may_have_any_name(small):
    columns = {"width": {"type": "number"}, "a b": {"type": "number", "input": False}}
    assert list(config.load(small(columns=columns).yaml).columns) == ["width", "a b"]


def test_two_columns_cannot_be_the_same_one(small):
    columns = {"a": {"type": "number", "from": "x"}, "b": {"type": "number", "from": "x"}}
    with pytest.raises(ConfigError, match="the source's column 'x' is taken twice"):
        config.load(small(columns=columns).yaml)


def test_names_that_can_be_sent_are_proposed(small):
    made = write_odd(small)
    header, *lines = made.csv.read_text().splitlines()
    made.csv.write_text("\n".join([header + ",mean radius", *(f"{line},1.5" for line in lines)]))
    found = inferring.propose(made.run().config)
    assert found["colour"]["from"] == ODD
    assert found["mean_radius"] == {"type": "number", "min": 1.5, "max": 1.5, "from": "mean radius"}
    content = yaml.safe_load(made.yaml.read_text()) | {"columns": found}
    made.yaml.write_text(yaml.safe_dump(content, sort_keys=False))
    assert "undeclared_columns" not in made.steps(until="check")["check"].summary


def test_a_bundled_set_goes_the_whole_way(small):
    names = {"radius": "mean radius", "area": "mean area", "smoothness": "mean smoothness"}
    made = small(
        source={"kind": "sklearn", "name": "breast_cancer"},
        columns={name: {"type": "number", "from": there} for name, there in names.items()},
        label={"name": "benign", "classes": [0, 1]},
    )
    assert made.steps()["evaluate"].summary["test_candidate_accuracy"] > 0.8
