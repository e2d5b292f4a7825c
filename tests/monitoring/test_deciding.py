"""The step `decide`: evidence from the store, one answer an episode, and a person's word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Answer, HistoryEntry
from pipeline_tasks.monitoring import evidence
from tests.monitoring.world import World
from tests.small import Small, write_small

RULES = {"cooldown_minutes": 0, "minimum_labelled": 100, "maximum_age_days": 30}
TWENTY = """
import multiprocessing, sys
from pathlib import Path
from pipeline_tasks import loop
from tests.small import Small

folder = Path(sys.argv[1])
made = Small(folder, folder / "rows.csv", folder / "small.yaml")
fork = multiprocessing.get_context("fork")
gate = fork.Barrier(20)

def decide(number):
    gate.wait()
    loop.function("decide")(made.run(f"decide {number}"), subject=f"bad {number}")

loop.function("decide")
processes = [fork.Process(target=decide, args=(number,)) for number in range(20)]
for process in processes:
    process.start()
for process in processes:
    process.join()
sys.exit(sum(process.exitcode != 0 for process in processes))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A pipeline with a champion, to be copied."""
    made = write_small(tmp_path_factory.mktemp("deciding"), retraining=RULES)
    made.steps("first")
    return made


@pytest.fixture
def world(trained: Small, tmp_path: Path) -> World:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(trained.folder, folder)
    return World(Small(folder, folder / "rows.csv", folder / "small.yaml"))


def degrade(world: World, name: str, seed: int = 3) -> str:
    moment = world.observe(name, 150, seed=seed, is_turned=True)
    return world.look(name, moment, episode=name)


def ended(world: World, episode: str, event: str = "refusal") -> None:
    """The training of an episode came to this end."""
    entry = HistoryEntry(
        at=clock.text(clock.now()), event=event, run=f"retrain__{episode}", by="t", reasons=("r",)
    )
    world.store.record("small", entry)


def test_a_decision_is_kept_with_its_evidence_and_what_every_night_would_have_done(world, caplog):
    degrade(world, "bad")
    with caplog.at_level("INFO"):
        decision = world.decide("decide", "bad")
    assert decision.summary["nightly_trainings"] == 0
    assert "a nightly schedule would have done 0 trainings, about 0 s" in caplog.text
    entry = world.store.history("small")[-1]
    assert (entry.event, entry.answer, entry.causes) == ("retraining", Answer.YES, ("quality",))
    assert entry.numbers["labelled"] == entry.numbers["new_rows"] == 150
    assert {"age_days", "retrainings", "in_vain", "nightly_seconds"} <= entry.numbers.keys()
    kept = read_json(world.store.open(decision) / "decision.json")
    assert kept["evidence"] == entry.numbers
    assert kept["monitoring"]["id"] == "bad"


def test_twenty_identical_alarms_at_once_are_one_retraining(world):
    moment = world.observe("new", 150, seed=3, is_turned=True)
    for number in range(20):
        world.look(f"bad {number}", moment, episode="bad")
    command = [sys.executable, "-c", TWENTY, str(world.made.folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], timeout=200, check=False)
    assert done.returncode == 0
    decided = [entry for entry in world.store.history("small") if entry.event == "retraining"]
    assert len(decided) == 20
    assert [entry.answer for entry in decided].count(Answer.YES) == 1
    assert {entry.episode for entry in decided} == {"bad"}


def test_a_retry_repeats_what_was_decided(world):
    degrade(world, "bad")
    first = world.decide("decide", "bad")
    assert world.decide("decide", "bad").summary == first.summary
    assert len(world.store.history("small")) == 2


def test_after_two_in_vain_a_person_is_asked_and_approves(world):
    for name in ("one", "two"):
        degrade(world, name, seed=len(name))
        assert world.decide(f"decide {name}", name).summary["answer"] == "yes"
        ended(world, name)
    degrade(world, "three", seed=9)
    asked = world.decide("decide three", "three")
    assert asked.summary["answer"] == "ask"
    assert "last 2 retrainings brought no proven gain" in asked.summary["reasons"]
    approved = world.decide("decide three", "three", approved_by="ana")
    assert approved.summary["answer"] == "yes"
    last = world.store.history("small")[-1]
    assert (last.by, last.reasons[0]) == ("ana", "approved by ana")
    assert (last.episode, last.changed_at != "") == ("three", True)
    again = world.decide("decide three", "three")
    assert again.summary["answer"] == "yes", "a retry does not ask again"


def test_a_person_who_refuses_closes_the_episode(world):
    for name in ("one", "two"):
        degrade(world, name, seed=len(name))
        world.decide(f"decide {name}", name)
        ended(world, name)
    moment = world.observe("three", 150, seed=9, is_turned=True)
    world.look("three", moment, episode="three")
    world.decide("decide three", "three")
    assert world.decide("decide three", "three", refused_by="ana").summary["answer"] == "no"
    assert world.store.history("small")[-1].reasons[0] == "refused by ana"
    world.look("three again", moment, episode="three")
    later = world.decide("decide later", "three again")
    assert later.summary["answer"] == "no"
    assert "has had its retraining" in later.summary["reasons"]


def test_a_training_that_failed_or_was_withdrawn_is_in_vain_too(world):
    for name, event in (("one", "incident"), ("two", "promotion")):
        degrade(world, name, seed=len(name))
        world.decide(f"decide {name}", name)
        ended(world, name, event)
    past = evidence.known(world.made.run("look"))
    assert evidence.gather(world.made.run("look"), past).in_vain == 2, "nothing proves the second"


def test_a_person_can_have_it_now(world):
    decision = world.decide("by hand", "by_hand", reason="the catalogue is new")
    assert decision.summary["answer"] == "yes"
    assert decision.summary["episode"] == "by_hand__by hand"
    assert world.store.history("small")[-1].reasons == ("by hand: the catalogue is new",)


def test_the_age_of_the_last_training_is_a_reason_once(world, monkeypatch):
    run = world.made.run("watching")
    assert evidence.occasion(run)[0] == ""
    later = clock.parse(world.store.champion("small").promoted_at).timestamp() + 31 * 86_400
    monkeypatch.setattr(clock, "now", lambda: clock.datetime.fromtimestamp(later, clock.UTC))
    assert evidence.occasion(run)[0] == "due"
    decision = world.decide("decide", "due")
    assert (decision.summary["answer"], decision.summary["causes"]) == ("yes", "age")
    assert decision.summary["nightly_trainings"] == 31
    assert decision.summary["episode"].startswith("age__")
    assert evidence.occasion(run)[0] == ""
