"""After a detected change: what is trained on, what judges, and when it is trained on again."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline_tasks.core.values import Answer
from pipeline_tasks.data import rows
from pipeline_tasks.monitoring import evidence
from tests.monitoring.world import MISSING, World

RULES = {"cooldown_minutes": 0, "minimum_labelled": 100, "replay_share": 0.2, "follow_ups": 2}


def prepared(world: World, left) -> dict[str, set[tuple[float, float]]]:
    """The rows of each split by width and height."""
    folder = world.made.run().open(left["prepare"])
    found = {}
    for path in folder.glob("*.npz"):
        arrays = rows.read_arrays(path)
        pairs = np.stack([arrays["width"], np.nan_to_num(arrays["height"], nan=MISSING)], axis=1)
        found[path.stem] = {(w, h) for w, h in pairs.astype(np.float64).round(4).tolist()}
    return found


def changed(small, **rules: object) -> World:
    """A champion, a world that was as it knew it, one that is not, and a decision to train."""
    world = World(small(promotion={"minimum": 0.4}, retraining=RULES | rules))
    world.made.steps("first")
    seen = world.observe("old", 300, seed=2)
    world.look("good", seen)
    world.look("bad", world.observe("new", 400, seed=3, is_turned=True), episode="bad")
    decision = world.decide("decide 1", "bad")
    assert decision.summary["answer"] == "yes", decision.summary
    assert world.store.history("small")[-1].changed_at == seen
    return world


def test_training_takes_what_came_since_the_change_and_a_share_of_what_was_before(small):
    world = changed(small)
    left = world.made.steps("retrain__bad")
    found = prepared(world, left)
    old, new = set(world.sent["old"]), set(world.sent["new"])
    learned = found["train"] | found["validation"]
    assert 20 < len(learned & old) < 100
    assert left["ingest"].summary["observations"] == len(new) + len((learned & old) - new)
    assert len(found["train"]) > 280, "the source's rows are there, too"
    again = world.made.steps("nightly", until="ingest")
    assert again["ingest"].reused, "every later run learns what the retraining did"


def test_what_the_charts_say_of_the_change_is_what_is_trained_on(small):
    world = World(small(promotion={"minimum": 0.4}, retraining=RULES | {"replay_share": 0.0}))
    world.made.steps("first")
    world.look("good", world.observe("old", 300, seed=2))
    world.observe("known", 150, seed=4)
    changed = world.observe("still known", 50, seed=5)
    seen = world.observe("new", 400, seed=3, is_turned=True)
    world.look("bad", seen, episode="bad", changed_at=changed)
    assert world.decide("decide", "bad").summary["answer"] == "yes"
    entry = world.store.history("small")[-1]
    assert (entry.changed_at, entry.numbers["labelled"]) == (changed, 400)
    assert world.made.steps("retrain__bad", until="ingest")["ingest"].summary["observations"] == 400


def test_the_candidate_is_judged_on_a_later_window_that_is_in_no_training(small):
    world = changed(small, replay_share=1.0)
    left = world.made.steps("retrain__bad")
    found = prepared(world, left)
    assert found["recent"] == {*world.sent["new"][-160:]}, "0.4 of 400: of the change alone"
    assert not found["recent"] & (found["train"] | found["validation"] | found["test"])
    gate = left["gate"].summary
    assert "on the same 160 latest labelled rows" in gate["reasons"]
    # With all that was true before, nothing of the contrary is learned, and the champion stays.
    assert gate["answer"] == "no"
    champion = world.store.champion("small")
    assert champion is not None
    assert champion.version == 1


def test_the_source_can_be_left_out_and_then_the_change_is_tested_on_as_well(small):
    world = changed(small, replay_source=False, replay_share=0.0)
    left = world.made.steps("retrain__bad")
    found = prepared(world, left)
    assert set.union(*found.values()) == set(world.sent["new"])
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    assert len(found["test"]) > 20
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.7
    assert left["deploy"].summary["version"] == 2


def test_it_is_trained_on_again_when_its_rows_have_grown(small):
    world = changed(small)
    world.made.steps("retrain__bad", until="ingest")
    run = world.made.run("watching")
    subject, counted = evidence.occasion(run)
    assert (subject, counted) == ("", "bad")
    seen = world.observe("more", 400, seed=4, is_turned=True)
    assert evidence.occasion(run, counted) == ("", "bad"), "counted after a look alone"
    world.look("good again", seen)
    assert evidence.occasion(run, counted) == ("due", "good again")
    decision = world.decide("decide 2", "due")
    assert decision.summary["answer"] == "yes"
    assert decision.summary["episode"] == "bad__follow_up_1"
    assert decision.summary["causes"] == "follow_up"
    assert evidence.occasion(run)[0] == ""
    world.look("good still", world.observe("most", 400, seed=5, is_turned=True))
    assert world.decide("decide 3", "due").summary["episode"] == "bad__follow_up_2"
    world.look("and still", world.observe("enough", 1200, seed=6, is_turned=True))
    assert evidence.occasion(run)[0] == "", "two follow-ups are all that the file allows"


def test_a_new_alarm_ends_the_follow_ups_of_the_last_change(small):
    world = changed(small)
    world.observe("more", 400, seed=4, is_turned=True)
    world.look("worse", world.observe("other", 50, seed=5), episode="worse", causes=("service",))
    assert world.decide("decide 2", "worse").summary["answer"] == "no"
    assert evidence.occasion(world.made.run("watching"))[0] == ""


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_same_earlier_rows_are_replayed_in_every_run(small, share):
    world = changed(small, replay_share=share)
    first = world.made.steps("retrain__bad", until="prepare")
    before = prepared(world, first)
    world.observe("more", 200, seed=4, is_turned=True)
    after = prepared(world, world.made.steps("later", until="prepare"))
    old = set(world.sent["old"])
    replayed = [(found["train"] | found["validation"]) & old for found in (before, after)]
    assert replayed[0] == replayed[1]
    assert np.isclose(len(replayed[0]) / 300, share, atol=0.1)


def test_an_alarm_that_is_refused_changes_nothing_that_is_trained_on(small):
    world = World(small(retraining=RULES | {"cooldown_minutes": 60}))
    world.made.steps("first")
    world.look("bad", world.observe("new", 50, seed=3), episode="bad")
    assert world.decide("decide", "bad").summary["answer"] == "not_enough_data"
    assert world.store.history("small")[-1].answer is Answer.NOT_ENOUGH_DATA
    left = world.made.steps("nightly", until="ingest")
    assert left["ingest"].summary["observations"] == 50
    folder = world.made.run().open(left["ingest"])
    assert not (folder / "change.json").exists()


def test_what_judged_is_learned_before_it_answers_and_judges_no_more(small):
    world = changed(small, refit=True, refit_change=0.5, replay_share=0.0, replay_source=False)
    left = world.made.steps("retrain__bad")
    refit = left["refit"].summary
    assert refit["answer"] == "yes"
    assert "refit with the 160 rows that judged" in refit["reasons"]
    champion = world.store.champion("small")
    assert champion is not None
    assert champion.model == left["train"], "it is the candidate that is proven"
    assert refit["reasons"] in world.store.history("small")[-1].reasons
    folder = world.made.run().open
    mine, its = (
        rows.read_arrays(folder(left[step]) / "weights.npz") for step in ("refit", "train")
    )
    assert any((mine[name] != its[name]).any() for name in its)
    seen = world.observe("more", 40, seed=4, is_turned=True)
    later = prepared(world, world.made.steps("nightly", until="prepare"))
    assert later["recent"] == {*world.sent["more"]}, "40 of 440, though 0.4 of them may judge"
    assert champion.exported.summary["learned_until"] < seen


def test_a_refit_that_answers_otherwise_than_what_was_proven_does_not_answer(small):
    world = changed(small, refit=True, refit_change=0.0, replay_share=0.0, replay_source=False)
    left = world.made.steps("retrain__bad")
    assert left["refit"].summary["answer"] == "no"
    assert "the proven candidate answers" in left["refit"].summary["reasons"]
    folder = world.made.run().open
    mine, its = (
        rows.read_arrays(folder(left[step]) / "weights.npz") for step in ("refit", "train")
    )
    assert all((mine[name] == its[name]).all() for name in its)
    champion = world.store.champion("small")
    assert champion is not None
    assert "learned_until" not in champion.exported.summary


def test_without_refit_no_step_is_there_and_the_rows_that_judged_may_judge_again(small):
    world = changed(small)
    left = world.made.steps("retrain__bad")
    assert "refit" not in left
    assert left["deploy"].summary["version"] == 2
    later = prepared(world, world.made.steps("nightly", until="prepare"))
    assert later["recent"] == {*world.sent["new"][-160:]}, "nobody has learned them"


def test_a_model_of_a_number_is_refit_and_compared_by_its_error(small):
    number = {
        "label": {"name": "kind", "type": "number"},
        "model": {"kind": "linear_regression"},
    }
    world = World(small(**number, retraining=RULES | {"refit": True, "refit_change": 1.0}))
    world.made.steps("first")
    world.observe("new", 400, seed=3, is_turned=True)
    refit = world.made.steps("second", until="refit")["refit"].summary
    assert refit["answer"] == "yes"
    assert re.search(r"answers (0\.[1-9]|[1-9])\d*.*% of them otherwise", refit["reasons"]), refit


def test_nights_without_new_labels_come_to_rest_after_a_refit(small):
    world = changed(small, refit=True, refit_change=0.5, replay_share=0.0, replay_source=False)
    assert world.made.steps("retrain__bad")["refit"].summary["answer"] == "yes"
    night = world.made.steps("night 1")
    assert "recent" not in prepared(world, night), "the champion has learned them all"
    assert world.made.steps("night 2")["train"].reused
