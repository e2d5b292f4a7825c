"""`<name>__retrain` under a real Airflow: alarms, dead processes, and people."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil
import pytest
import yaml

from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Answer, HistoryEntry
from tests.live import command
from tests.monitoring.world import Production

NAME = "watched"
RETRAIN, TRAIN = f"{NAME}__retrain", f"{NAME}__train"
PERSON_SECONDS = 3


class Watched(Production):
    """One pipeline of a running Airflow, whose production the tests write."""

    def __init__(self, live) -> None:
        super().__init__(live.store, NAME)
        self.live = live

    def degrade(self, episode: str, *, looks: int = 1, seed: int = 3) -> None:
        """Labelled rows of a contrary world, and looks that saw them."""
        moment = self.observe(episode, 150, seed=seed, is_turned=True)
        for number in range(looks):
            self.look(f"{episode} {number}", moment, episode=episode)

    def tasks(self, dag: str, run: str) -> dict[str, str]:
        """Each task's state."""
        found = self.live.api().get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances").json()
        return {one["task_id"]: one["state"] for one in found.get("task_instances", [])}

    def wait_until_it_watches(self) -> str:
        """The run that watches now."""

        def is_deferred() -> bool:
            run = self.live.airflow().running(RETRAIN)
            return bool(run) and self.tasks(RETRAIN, run).get("watch") == "deferred"

        self.live.wait_for(is_deferred, f"{RETRAIN} to watch")
        return self.live.airflow().running(RETRAIN)

    def trained(self) -> list[str]:
        """The training runs that a decision has started."""
        found = self.live.api().get(f"/api/v2/dags/{TRAIN}/dagRuns").json()["dag_runs"]
        return [one["dag_run_id"] for one in found if one["dag_run_id"].startswith("retrain__")]

    def decisions(self) -> list[HistoryEntry]:
        """What has been decided."""
        return [one for one in self.store.history(NAME) if one.event == "retraining"]

    def kill(self, word: str) -> None:
        """SIGKILL to one of Airflow's components; the launcher starts it again."""
        for process in self.live.family():
            typed = command(process)
            if word in typed and any(part.endswith("airflow") for part in typed):
                for one in [*process.children(recursive=True), process]:
                    with suppress(ProcessLookupError, psutil.NoSuchProcess):
                        os.kill(one.pid, signal.SIGKILL)
                return
        raise AssertionError(f"no {word} runs")


@pytest.fixture(scope="module")
def watched(live):
    content = yaml.safe_load((live.pipelines / "small.yaml").read_text())
    content["retraining"] = {"cooldown_minutes": 0, "minimum_labelled": 100, "follow_ups": 0}
    del content["tuning"]
    (live.pipelines / f"{NAME}.yaml").write_text(yaml.safe_dump(content))
    for dag in (TRAIN, RETRAIN):
        live.airflow().wait_for_dag(dag)
    run = live.airflow().trigger(TRAIN)
    assert live.airflow().follow(TRAIN, run, lambda *_: None) == "success"
    return Watched(live)


def test_twenty_alarms_while_triggerer_and_scheduler_are_dead_are_one_training(watched):
    before = watched.wait_until_it_watches()
    watched.kill("triggerer")
    watched.kill("scheduler")
    watched.degrade("bad", looks=20)
    watched.live.wait_for(watched.trained, "the training")
    assert watched.live.airflow().follow(TRAIN, "retrain__bad", lambda *_: None) == "success"
    watched.live.wait_for(
        lambda: watched.live.airflow().state(RETRAIN, before) == "success", "the decision's run"
    )
    assert set(watched.tasks(RETRAIN, before).values()) == {"success"}
    assert "nobody needs to be asked" in watched.live.task_log(RETRAIN, before, "ask")
    log = watched.live.task_log(RETRAIN, before, "decide")
    assert "150 labelled observations to learn from" in log
    assert "a nightly schedule would have done" in log
    watched.wait_until_it_watches()
    watched.look("bad again", clock.text(clock.now()), episode="bad")
    watched.live.wait_for(lambda: len(watched.decisions()) == 2, "the second decision")
    assert [one.answer for one in watched.decisions()] == [Answer.YES, Answer.NO]
    assert watched.trained() == ["retrain__bad"]


def test_a_person_retrains_now_and_says_why(watched):
    watched.wait_until_it_watches()
    run = watched.live.airflow().trigger(RETRAIN, reason="the catalogue is new")
    assert watched.live.airflow().follow(RETRAIN, run, lambda *_: None) == "success"
    assert set(watched.tasks(RETRAIN, run).values()) == {"success"}
    last = watched.decisions()[-1]
    assert (last.by, last.reasons) == ("admin", ("by hand: the catalogue is new",))
    assert f"retrain__by_hand__{run}" in watched.trained()
    watched.wait_until_it_watches()


@pytest.mark.parametrize(("answer", "state"), [("Reject", "skipped"), ("Approve", "success")])
def test_after_retrainings_in_vain_a_person_is_asked(watched, answer, state):
    entry = HistoryEntry(at="", event="", run="", by="test", reasons=("in vain",))
    for episode in (f"{answer} 1", f"{answer} 2"):
        now = {"at": clock.text(clock.now()), "episode": episode, "run": f"decided {episode}"}
        yes = {"event": "retraining", "answer": Answer.YES}
        no = {"event": "refusal", "run": f"retrain__{episode}"}
        watched.store.record(NAME, entry.model_copy(update=now | yes))
        watched.store.record(NAME, entry.model_copy(update=now | no))
    watched.wait_until_it_watches()
    watched.degrade(answer, seed=len(answer))
    watched.live.wait_for(
        lambda: watched.decisions()[-1].answer is Answer.ASK, "the decision to ask"
    )
    run = watched.decisions()[-1].run
    path = f"/api/v2/dags/{RETRAIN}/dagRuns/{run}/taskInstances/ask/-1/hitlDetails"
    watched.live.wait_for(lambda: watched.live.api().get(path).status_code == 200, "the question")
    assert "brought no proven gain" in watched.live.api().get(path).json()["body"]
    watched.live.wait_for(
        lambda: watched.tasks(RETRAIN, run)["ask"] == "awaiting_input", "the task to wait"
    )
    # An answer that is faster than the scheduler's books would look to it like a task that died.
    time.sleep(PERSON_SECONDS)
    content = {"chosen_options": [answer], "params_input": {}}
    watched.live.api().patch(path, json=content).raise_for_status()
    assert watched.live.airflow().follow(RETRAIN, run, lambda *_: None) == "success"
    assert watched.tasks(RETRAIN, run)["trigger"] == state
    last = watched.decisions()[-1]
    assert "admin" in last.reasons[0].lower()
    assert last.answer is (Answer.YES if state == "success" else Answer.NO)
    assert (f"retrain__{answer}" in watched.trained()) == (state == "success")
