"""A refused candidate is put before a person, under a real Airflow."""

from __future__ import annotations

import time

import pytest

PERSON_SECONDS = 3


@pytest.mark.parametrize(("answer", "deployed"), [("Reject", "skipped"), ("Approve", "success")])
def test_a_person_decides_on_a_refused_candidate(live, answer, deployed):
    # One epoch at a tiny rate: the promotion's minimum is out of reach.
    form = {"approval": "refused", "epochs": 1, "learning_rate": 1e-5, "force": True}
    run = live.airflow().trigger("strict__train", **form)
    path = f"/api/v2/dags/strict__train/dagRuns/{run}/taskInstances/gate/-1/hitlDetails"

    def is_asked() -> bool:
        reply = live.api().get(path)
        return reply.status_code == 200 and not reply.json()["response_received"]

    live.wait_for(is_asked, "the question")
    question = live.api().get(path).json()
    assert "below the minimum" in question["body"]
    # An answer that is faster than the scheduler's books would look to it like a task that died.
    time.sleep(PERSON_SECONDS)
    reply = live.api().patch(path, json={"chosen_options": [answer], "params_input": {}})
    assert reply.status_code == 200, reply.text
    assert live.airflow().follow("strict__train", run, lambda *_: None) == "success"
    found = live.api().get(f"/api/v2/dags/strict__train/dagRuns/{run}/taskInstances").json()
    states = {one["task_id"]: one["state"] for one in found["task_instances"]}
    assert (states["gate"], states["deploy"]) == ("success", deployed)
    if deployed == "success":
        last = live.store.history("strict")[-1]
        assert last.event == "promotion"
        assert "approved by" in last.reasons[0]
        assert "admin" in last.reasons[0].lower()
