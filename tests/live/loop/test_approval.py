"""A refused candidate is put before a person, under a real Airflow."""

from __future__ import annotations

import fcntl
import os
import signal
import time

from pipeline_tasks.core import clock
from pipeline_tasks.core.values import HistoryEntry, Ref
from pipeline_tasks.release import quarantine

PERSON_SECONDS = 3
DAG = "strict__train"


class Asked:
    """A run whose candidate is refused, and that asks a person."""

    def __init__(self, live, **form):
        self.live = live
        # At a tiny rate the promotion's minimum is out of reach.
        form |= {"approval": "refused", "learning_rate": 1e-5, "force": True}
        self.run = live.airflow().trigger(DAG, **form)
        tasks = f"/api/v2/dags/{DAG}/dagRuns/{self.run}/taskInstances"
        self._tasks, self._question = tasks, f"{tasks}/gate/-1/hitlDetails"
        live.wait_for(self._is_asked, "the question")

    def _is_asked(self):
        reply = self.live.api().get(self._question)
        return reply.status_code == 200 and not reply.json()["response_received"]

    def question(self):
        return self.live.api().get(self._question).raise_for_status().json()

    def tasks(self):
        found = self.live.api().get(self._tasks).raise_for_status().json()["task_instances"]
        return {one["task_id"]: one for one in found}

    def candidate(self):
        left = f"{self._tasks}/train/xcomEntries/return_value"
        reply = self.live.api().get(left, params={"deserialize": "true"}).raise_for_status()
        return Ref.model_validate(reply.json()["value"])

    def answer(self, answer):
        # An answer that is faster than the scheduler's books would look to it like a task that
        # died.
        time.sleep(PERSON_SECONDS)
        content = {"chosen_options": [answer], "params_input": {}}
        self.live.api().patch(self._question, json=content).raise_for_status()

    def end(self):
        return self.live.airflow().follow(DAG, self.run, lambda *_: None)


def test_a_refused_candidate_that_a_person_rejects_is_not_deployed(live):
    asked = Asked(live, epochs=1)
    assert "below the minimum" in asked.question()["body"]
    asked.answer("Reject")
    assert asked.end() == "success"
    states = {name: one["state"] for name, one in asked.tasks().items()}
    assert (states["gate"], states["deploy"]) == ("success", "skipped")


def test_an_approval_counts_although_the_task_is_killed_before_it_is_recorded(live):
    """Approving lifts a quarantine, which waits here for the history's lock."""
    asked = Asked(live, epochs=2)
    live.store.record(
        "strict",
        HistoryEntry(
            at=clock.text(clock.now()),
            event=quarantine.INCIDENT,
            run=asked.run,
            by="test",
            reasons=("slow",),
            subject=quarantine.mark(live.store, asked.candidate()),
        ),
    )
    with (live.store.root / "strict" / "history.jsonl").open("a") as history:
        fcntl.flock(history, fcntl.LOCK_EX)
        asked.answer("Approve")
        live.wait_for(lambda: asked.tasks()["gate"]["state"] == "running", "the task to go on")
        os.kill(asked.tasks()["gate"]["pid"], signal.SIGKILL)
        live.wait_for(lambda: asked.tasks()["gate"]["state"] == "up_for_retry", "its end")
    answered = asked.question()
    live.wait_for(lambda: asked.tasks()["gate"]["state"] == "success", "the retry", seconds=60)
    assert asked.tasks()["gate"]["try_number"] == 2
    assert asked.question()["responded_at"] == answered["responded_at"], "nobody is asked again"
    assert asked.end() == "success"
    assert asked.tasks()["deploy"]["state"] == "success"
    lifted, promoted = live.store.history("strict")[-2:]
    assert (lifted.event, promoted.event) == (quarantine.LIFTED, "promotion")
    for one in (lifted, promoted):
        assert "approved by admin" in one.reasons[0].lower()
