"""What goes wrong under a real Airflow, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from pipeline_tasks.serving.client import Client
from tests.live import command, pid_exists


def follow(live, dag: str, run: str) -> str:
    return live.airflow().follow(dag, run, lambda *_: None, timeout_seconds=240)


def tasks(live, dag: str, run: str) -> dict[str, dict[str, object]]:
    path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances"
    found = live.api().get(path).raise_for_status().json()["task_instances"]
    return {one["task_id"]: one for one in found}


def test_a_broken_csv_stops_at_check_without_a_retry_and_nothing_is_pushed(live):
    run = live.airflow().trigger("torn__train")
    assert follow(live, "torn__train", run) == "failed"
    found = tasks(live, "torn__train", run)
    assert found["check"]["state"] == "failed"
    assert found["check"]["try_number"] == 1
    assert found["prepare"]["state"] == "upstream_failed"
    log = live.task_log("torn__train", run, "check")
    for part in ("torn.csv line 7", "column width", "'wide'", "expected", "what to do"):
        assert part in log, log
    assert live.store.champion("torn") is None
    assert not (live.home / "models" / "torn").exists()


def server_process(live):
    return next(one for one in live.family() if "pipeline_tasks.serving" in command(one))


@pytest.fixture
def frozen_server(live):
    """The model server does not answer while the test runs."""
    process = server_process(live)
    os.kill(process.pid, signal.SIGSTOP)
    yield
    os.kill(process.pid, signal.SIGCONT)
    live.wait_for(lambda: Client(live.local.server).states("digits"), "the server's answer")


def test_a_server_that_is_down_at_publish_is_retried_then_a_clear_failure(live, frozen_server):
    run = live.airflow().trigger("small__train")
    live.wait_for(
        lambda: tasks(live, "small__train", run).get("publish", {}).get("state") == "up_for_retry",
        "a retry",
    )
    assert follow(live, "small__train", run) == "failed"
    found = tasks(live, "small__train", run)
    assert found["verify"]["state"] == "success"
    assert (found["publish"]["state"], found["publish"]["try_number"]) == ("failed", 2)
    log = live.task_log("small__train", run, "publish", 2)
    assert "no answer from the model server at" in log
    assert "what to do" in log
    assert live.store.champion("small") is None
    assert not list((live.home / "models" / "small").glob("[0-9]*"))
    told = [one for one in live.store.notices("small") if "failed" in one.title]
    assert [one.title for one in told] == ["small__train failed at publish"]
    assert "no answer from the model server at" in told[0].text
    assert f"/dags/small__train/runs/{quote(run)}/tasks/publish" in told[0].text


def test_two_triggers_at_once_run_one_after_the_other(live):
    first = live.airflow().trigger("small__train")
    second = live.airflow().trigger("small__train")
    overlap = False
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        states = [live.airflow().state("small__train", run) for run in (first, second)]
        overlap = overlap or states == ["running", "running"]
        if set(states) <= {"success", "failed"}:
            break
        time.sleep(0.3)
    assert states == ["success", "success"], live.task_log("small__train", first, "deploy", 2)
    assert not overlap
    assert tasks(live, "small__train", first)["deploy"]["state"] == "success"
    later = tasks(live, "small__train", second)
    assert later["gate"]["state"] == "success"
    assert later["deploy"]["state"] == "skipped", "the candidate is the champion itself"
    assert Client(live.local.server).states("small")[1][0] == "AVAILABLE"
    assert [entry.event for entry in live.store.history("small")] == ["promotion"]


def test_a_rollback_from_the_form_answers_with_the_earlier_version_and_forth_again(live):
    client = Client(live.local.server)
    before = live.store.champion("digits")
    run = live.airflow().trigger("digits__rollback", reason="to see it go back")
    assert follow(live, "digits__rollback", run) == "success"
    assert live.store.champion("digits").version == 1
    assert client.states("digits")[1][0] == "AVAILABLE"
    last = live.store.history("digits")[-1]
    assert (last.event, last.by, last.reasons) == ("rollback", "admin", ("to see it go back",))
    conf = {"reason": "and forth", "version": before.version}
    run = live.airflow().trigger("digits__rollback", **conf)
    assert follow(live, "digits__rollback", run) == "success"
    assert live.store.champion("digits") == before


def test_a_rollback_to_nowhere_is_refused_by_the_form(live):
    content = {"logical_date": None, "conf": {"version": 99, "reason": "a mistake"}}
    reply = live.api().post("/api/v2/dags/digits__rollback/dagRuns", json=content)
    assert reply.status_code == 400
    assert "99 is not one of" in reply.text


def test_a_form_with_a_value_out_of_range_is_refused_before_it_runs(live):
    content = {"logical_date": None, "conf": {"epochs": 0}}
    reply = live.api().post("/api/v2/dags/digits__train/dagRuns", json=content)
    assert reply.status_code == 400
    assert "epochs" in reply.text


def test_a_training_task_that_is_killed_goes_on_at_the_next_epoch(live):
    """SIGKILL to the task's process while it trains; Airflow notices and tries again."""
    run = live.airflow().trigger(
        "digits__train", epochs=10_000, patience=1000, learning_rate=0.0001
    )
    scratch = live.store.scratch("digits", run, "train")
    live.wait_for(lambda: epochs_kept(scratch) >= 5, "five epochs")
    process = tasks(live, "digits__train", run)["train"]["pid"]
    os.kill(process, signal.SIGKILL)
    live.wait_for(lambda: not pid_exists(process), "the task's end")
    epochs = epochs_kept(scratch)
    live.wait_for(
        lambda: tasks(live, "digits__train", run)["train"]["try_number"] == 2, "the next try"
    )
    live.wait_for(lambda: epochs_kept(scratch) > epochs, "the next epoch")
    path = f"/api/v2/dags/digits__train/dagRuns/{run}"
    live.api().patch(path, json={"state": "failed"}).raise_for_status()
    live.wait_for(
        lambda: tasks(live, "digits__train", run)["train"]["state"] == "failed", "its end"
    )
    log = live.task_log("digits__train", run, "train", 2)
    assert f"resumed after epoch {epochs} from the checkpoint" in log
    assert f"epoch {epochs + 1}/10000" in log
    assert "epoch 1/10000" not in log


def epochs_kept(scratch: Path) -> int:
    """The epoch of the newest checkpoint; 0 before the first."""
    for path in scratch.glob("*.npz"):
        with np.load(path) as kept:
            return len(json.loads(kept["progress"].tobytes())["loss"])
    return 0
