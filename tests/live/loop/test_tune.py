"""The search for better parameters under a real Airflow: mapped trials that share one study."""

from __future__ import annotations

import re

TITLE = r"\d: learning_rate [\d.e-]+: (loss [\d.]+|pruned)"


def test_mapped_trials_share_a_study_and_the_best_is_chosen(live):
    run = live.airflow().trigger("small__tune")
    assert live.airflow().follow("small__tune", run, lambda *_: None) == "success"
    path = f"/api/v2/dags/small__tune/dagRuns/{run}/taskInstances"
    found = live.api().get(path).raise_for_status().json()["task_instances"]
    trials = [one for one in found if one["task_id"] == "trial"]
    assert sorted(one["map_index"] for one in trials) == [0, 1, 2, 3]
    for one in trials:
        assert re.fullmatch(TITLE, one["rendered_map_index"]), one["rendered_map_index"]
    log = live.task_log("small__tune", run, "choose")
    assert "has the least validation loss" in log
    assert "write into the pipeline file" in log
