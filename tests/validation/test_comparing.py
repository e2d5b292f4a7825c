"""A champion that was made with other columns or classes than the candidate."""

from __future__ import annotations

import json

import pytest
import yaml

from pipeline_tasks import loop
from tests.small import write_small

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 0.03, "patience": 0}
OTHER = {"epochs": 3} | {key: TRAINING[key] for key in ("batch_size", "learning_rate")}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Version 1 in production; the tests change the file and stop before a promotion."""
    made = write_small(tmp_path_factory.mktemp("champion"), training=TRAINING)
    made.steps("first")
    return made


class Second:
    """The next candidate, of a changed file."""

    def __init__(self, made, run_id: str, change) -> None:
        self.made = made
        kept = made.yaml.read_text()
        content = yaml.safe_load(kept) | {"training": OTHER}
        change(content)
        try:
            made.yaml.write_text(yaml.safe_dump(content, sort_keys=False))
            self.left = made.steps(run_id, until="gate")
            self.run = made.run(run_id)
        finally:
            made.yaml.write_text(kept)
        path = self.run.open(self.left["evaluate"]) / "evaluation.json"
        self.report = json.loads(path.read_text())
        self.verdict = self.left["gate"].summary

    @property
    def champion(self):
        return self.report["splits"]["test"]["champion"]


def test_an_added_column_is_no_obstacle(first):
    def change(content):
        content["columns"]["area"] = {"type": "number", "nullable": True}

    text = first.csv.read_text()
    lines = text.splitlines()
    wider = [f"{lines[0]},area", *(f"{line},{index % 7}" for index, line in enumerate(lines[1:]))]
    try:
        first.csv.write_text("\n".join(wider) + "\n")
        second = Second(first, "added", change)
    finally:
        first.csv.write_text(text)
    assert second.report["obstacles"] == []
    assert second.champion["accuracy"] > 0.7
    assert "against the champion's" in second.verdict["reasons"]


def test_without_a_column_that_the_champion_takes_only_a_person_can_say_yes(first):
    def change(content):
        content["columns"].pop("colour")

    second = Second(first, "dropped", change)
    assert second.report["obstacles"] == ["it takes colour, which the rows do not have"]
    assert second.report["champion_version"] == 1
    assert second.champion is None
    assert second.verdict["answer"] == "not_enough_data"
    assert "it takes colour, which the rows do not have" in second.verdict["reasons"]
    assert "`input: false`" in second.verdict["reasons"]
    assert first.run().store.history("small")[-1].event == "refusal"
    given = {"evaluation": second.left["evaluate"], "model": second.left["train"]}
    approved = loop.function("gate")(second.run, **given, approved_by="Ada")
    assert approved.summary["answer"] == "yes"
    assert "approved by Ada" in approved.summary["reasons"]


def test_a_column_that_no_client_sends_any_more_is_still_there_for_the_champion(first):
    def change(content):
        content["columns"]["width"] |= {"input": False}

    second = Second(first, "kept", change)
    assert second.report["obstacles"] == []
    test = second.report["splits"]["test"]
    assert test["champion"]["accuracy"] > test["candidate"]["accuracy"] + 0.05
    assert second.verdict["answer"] == "no"


def test_a_column_of_another_type_is_an_obstacle(first):
    def change(content):
        content["columns"]["width"] = {"type": "category"}

    second = Second(first, "retyped", change)
    assert second.report["obstacles"] == ["it takes width as numbers, and the rows have text"]


def test_classes_in_another_order_are_compared_class_by_class(first):
    def change(content):
        content["label"]["classes"] = [1, 0]

    second = Second(first, "reordered", change)
    assert second.report["obstacles"] == []
    assert second.champion["accuracy"] > 0.7


def test_other_classes_are_an_obstacle(first):
    def change(content):
        content["label"]["classes"] = [0, 1, 2]

    second = Second(first, "more classes", change)
    assert second.report["obstacles"] == ["it answers 0, 1, and the candidate 0, 1, 2"]
    assert second.verdict["answer"] == "not_enough_data"
