"""The whole loop under a real Airflow: `make demo`, and what it leaves behind."""

from __future__ import annotations

import json
import math

import httpx

from pipeline_tasks import observations
from pipeline_tasks.core.values import Answer

LOOP = ["ingest", "check", "prepare", "train", "evaluate", "gate", "export", "verify"]
LOOP += ["publish", "deploy", "bake"]


def test_every_link_held_and_the_summary_says_so(live):
    found = live.demo()
    assert found["broken_link"] == "", live.text()
    assert (found["champion_before"], found["champion_after"]) == (1, 2)
    assert found["accuracy_before"] < 0.6
    assert found["accuracy_after"] > found["accuracy_before"] + 0.2
    assert found["requests_during_the_loop"] > 100
    assert found["failed_requests"] == 0
    assert math.isfinite(found["seconds_to_recovery"])
    assert any("labelled observations" in reason for reason in found["retrain_reasons"])
    text = live.text()
    for line in ("monitor says healthy", "monitor says degraded", "decided to retrain"):
        assert line in text
    for task in LOOP:
        assert f"{task:9} success" in text


def test_the_history_says_who_promoted_what_and_why(live):
    entries = live.store.history("digits")
    assert [entry.event for entry in entries][:3] == ["promotion", "retraining", "promotion"]
    first, decision, second = entries[:3]
    assert first.by == "admin"
    assert decision.answer is Answer.YES
    assert (second.version, second.previous_version) == (2, 1)
    assert "latest labelled rows" in "; ".join(second.reasons)


def test_the_candidate_was_judged_on_later_labelled_rows_it_was_not_trained_on(live):
    champion = live.store.champion("digits")
    prepared = live.store.open(champion.prepared)
    from pipeline_tasks.data import rows

    splits = {name: rows.read_arrays(prepared / f"{name}.npz") for name in ("train", "recent")}
    scans = {name: {one.tobytes() for one in arrays["image"]} for name, arrays in splits.items()}
    assert not scans["train"] & scans["recent"]
    seen = observations.labelled(live.store.observations("digits"))
    latest = [pair.prediction.inputs["image"] for pair in seen[-50:]]
    import numpy as np

    recent = {one.tobytes() for one in splits["recent"]["image"]}
    assert all(np.asarray(image, np.float32).tobytes() in recent for image in latest)


def test_the_retraining_run_carries_its_evidence(live):
    alarm = next(one for one in live.store.monitoring("digits") if one.verdict.is_yes)
    path = f"/api/v2/dags/digits__train/dagRuns/retrain__{alarm.episode}"
    run = live.api().get(path).raise_for_status().json()
    assert run["state"] == "success"
    assert "labelled rows" in run["conf"]["reason"]
    assert run["note"].startswith("Retraining: ")


def test_the_task_logs_read_well(live):
    runs = live.api().get("/api/v2/dags/digits__train/dagRuns").json()["dag_runs"]
    run = runs[0]["dag_run_id"]
    training = live.task_log("digits__train", run, "train")
    assert "epoch 1/60" in training
    assert "train: done in" in training
    gate = live.task_log("digits__train", run, "gate")
    assert "reasons" in gate
    assert "Traceback" not in training + gate
    assert "deprecated" not in training + gate


def test_no_secret_is_in_a_log_or_an_artifact(live):
    secrets = [live.local.password()]
    secrets += json.loads((live.home / "airflow" / "secrets.json").read_text()).values()
    for folder in (live.home / "log", live.home / "airflow" / "logs", live.home / "store"):
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not [one for one in secrets if one.encode() in content], path


def test_the_broken_pipeline_is_one_import_error_while_the_others_run(live):
    errors = live.api().get("/api/v2/importErrors").json()["import_errors"]
    assert len(errors) == 1
    for mistake in ("broken.yaml:1: source.kind", "broken.yaml:7: model.dropout", ":9: training"):
        assert mistake in errors[0]["stack_trace"]
    dags = live.api().get("/api/v2/dags", params={"limit": 100}).json()["dags"]
    names = {dag["dag_id"] for dag in dags}
    assert {"digits__train", "small__train", "torn__train"} <= names
    assert not any(name.startswith("broken") for name in names)


def test_everything_asks_for_a_login(live):
    for path in ("/api/v2/dags", "/api/v2/importErrors"):
        assert httpx.get(live.local.ui + path).status_code == 401


def test_without_airflow_the_same_steps_give_the_same_numbers(live, tmp_path):
    import subprocess
    import sys

    from tests.server import PROJECT, environment

    command = [sys.executable, "-m", "pipeline_tasks", "run", "digits", "--until", "evaluate"]
    env = environment(PERENNIAL_HOME=str(tmp_path))
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    first = live.store.version("digits", 1)
    mine = next((tmp_path / "store" / "digits" / "runs").iterdir())
    theirs = live.store.open(first.evaluation)
    found = [
        json.loads((folder / "evaluation.json").read_text())["splits"]["test"]
        for folder in (mine / "evaluation", theirs)
    ]
    for report in found:
        assert report.pop("ms_per_1000_rows") > 0, "the one figure that is a time"
    assert found[0] == found[1]
