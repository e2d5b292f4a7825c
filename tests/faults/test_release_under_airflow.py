"""Releases under a real Airflow: promoted, taken away, and alive after its processes are killed.

Airflow is started once for the module; its tests share one history and run in the order of the
file.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
import yaml

from pipeline_tasks.release import desired
from tests.deployment.conftest import Traffic, bad
from tests.live import Live, command
from tests.small import csv_text

TRAIN, ROLLBACK, MONITOR = "fruit__train", "fruit__rollback", "fruit__monitor"
CANARY = {
    "strategy": "canary",
    "steps": [20, 60],
    "step_minutes": 2,
    "minimum_requests": 30,
    "confidence": 0.95,
    "error_margin": 0.1,
    "bake_minutes": 0.05,
}


class Fruit:
    """One pipeline under a running Airflow."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.path = live.pipelines / "fruit.yaml"
        rows = live.pipelines / "rows.csv"
        rows.write_text(csv_text())
        self._content = {
            "schedule": None,
            "paused": False,
            "retries": 1,
            "source": {"kind": "csv", "path": str(rows)},
            "columns": {
                "width": {"type": "number", "min": -10, "max": 10},
                "height": {"type": "number", "nullable": True},
                "colour": {"type": "category", "values": ["red", "green", "blue"]},
            },
            "label": {"name": "kind", "classes": [0, 1]},
            "model": bad("good"),
            "promotion": {"minimum": 0.0, "margin": 1.0, "slice_margin": 1.0},
            "metrics": ["accuracy"],
            "evaluation": {"bootstrap": 0, "importance": False},
            "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.03},
            "monitoring": {"schedule": "0 3 * * *"},
            "deployment": {"bake_minutes": 0.02},
        }
        self.change()

    def change(self, **content: object) -> None:
        """Replace top-level keys of the file, and wait until Airflow draws it."""
        self._content |= content
        self.path.write_text(yaml.safe_dump(self._content))

    def drawn(self) -> set[str]:
        """The tasks of the training DAG as Airflow knows it now."""
        found = self.live.api().get(f"/api/v2/dags/{TRAIN}/tasks")
        return {one["task_id"] for one in found.json().get("tasks", [])}

    def states(self, run: str) -> dict[str, str]:
        """Each task's state."""
        path = f"/api/v2/dags/{TRAIN}/dagRuns/{run}/taskInstances"
        found = self.live.api().get(path).raise_for_status().json()["task_instances"]
        return {one["task_id"]: one["state"] for one in found}

    def follow(self, dag: str, run: str) -> str:
        """Wait for the run's end; its state."""
        return self.live.airflow().follow(dag, run, lambda *_: None, timeout_seconds=240)

    def train(self) -> tuple[str, dict[str, str]]:
        """One run to its end: its id, and the state of each task."""
        run = self.live.airflow().trigger(TRAIN)
        state = self.follow(TRAIN, run)
        assert state == "success", self.states(run)
        return run, self.states(run)

    def wait_for_state(self, run: str, task: str, state: str) -> None:
        """Wait until a task of the run is in that state."""
        self.live.wait_for(lambda: self.states(run).get(task) == state, f"{task} {state}")

    def fail_by_hand(self, run: str, task: str = "") -> None:
        """Mark a task as failed, or the whole run, as a person does."""
        path = f"/api/v2/dags/{TRAIN}/dagRuns/{run}"
        path, key = (f"{path}/taskInstances/{task}", "new_state") if task else (path, "state")
        self.live.api().patch(path, json={key: "failed"}).raise_for_status()

    def champion(self) -> int:
        """The champion's version."""
        champion = self.live.store.champion("fruit")
        assert champion is not None
        return champion.version

    def asked_of(self) -> desired.Desired:
        """What servers are told."""
        return desired.read(self.live.home / "models" / "fruit")

    def traffic(self) -> Traffic:
        """Clients that ask while the block runs."""
        return Traffic(self.live.local.server, "fruit")

    def kill(self, word: str) -> None:
        """SIGKILL to one of Airflow's components; the launcher starts it again."""
        for process in self.live.family():
            typed = command(process)
            if word in typed and any(part.endswith("airflow") for part in typed):
                for one in [*process.children(recursive=True), process]:
                    try:
                        os.kill(one.pid, signal.SIGKILL)
                    except (ProcessLookupError, psutil.NoSuchProcess):
                        continue
                return
        raise AssertionError(f"no {word} runs")


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fruit]:
    live = Live(tmp_path_factory.mktemp("release"))
    found = Fruit(live)
    live.start("up")
    try:
        live.wait_until_up()
        live.airflow().wait_for_dag(TRAIN)
        yield found
    finally:
        live.stop()


def test_a_first_version_bakes_and_there_is_nothing_to_withdraw(fruit):
    _, states = fruit.train()
    assert (states["deploy"], states["bake"], states["withdraw"]) == (
        "success",
        "success",
        "skipped",
    )
    assert (fruit.champion(), fruit.asked_of()) == (1, desired.settled(1))


def test_a_canary_survives_the_death_of_triggerer_and_scheduler_and_is_promoted(fruit):
    fruit.change(model={"kind": "mlp", "hidden": [6]}, deployment=CANARY)
    fruit.live.wait_for(lambda: "canary_60" in fruit.drawn(), "the canary's steps in the graph")
    run = fruit.live.airflow().trigger(TRAIN)
    # Without traffic the first step waits, deferred, until its time is over.
    fruit.wait_for_state(run, "canary_20", "deferred")
    assert fruit.asked_of().trial.percent == 20
    fruit.kill("triggerer")
    fruit.kill("scheduler")
    with fruit.traffic() as traffic:
        assert fruit.follow(TRAIN, run) == "success", fruit.states(run)
    states = fruit.states(run)
    done = {states[name] for name in ("publish", "canary_20", "canary_60", "deploy", "bake")}
    assert (done, states["withdraw"]) == ({"success"}, "skipped")
    assert (fruit.champion(), fruit.asked_of()) == (2, desired.settled(2))
    assert traffic.failures == []
    assert set(traffic.answered) == {1, 2}


def test_a_bad_candidate_ends_green_with_its_reasons_and_in_quarantine(fruit):
    fruit.change(model=bad("nan_far_away"))
    with fruit.traffic() as traffic:
        run, states = fruit.train()
    assert (states["canary_20"], states["withdraw"]) == ("success", "success"), states
    assert {states[name] for name in ("canary_60", "deploy", "bake")} == {"skipped"}
    assert "answered with NaN or infinity" in fruit.live.task_log(TRAIN, run, "withdraw")
    assert (fruit.champion(), fruit.asked_of()) == (2, desired.settled(2))
    assert traffic.failures == []
    assert fruit.live.store.history("fruit")[-1].event == "incident"
    run, states = fruit.train()
    assert (states["gate"], states["export"], states["withdraw"]) == (
        "success",
        "skipped",
        "skipped",
    )
    assert "in quarantine since" in fruit.live.task_log(TRAIN, run, "gate")


def test_a_rollback_from_the_form_ends_a_canary(fruit):
    fruit.change(model={"kind": "mlp", "hidden": [7]})
    run = fruit.live.airflow().trigger(TRAIN)
    fruit.wait_for_state(run, "canary_20", "deferred")
    back = fruit.live.airflow().trigger(ROLLBACK, reason="not today")
    assert fruit.follow(ROLLBACK, back) == "success"
    assert (fruit.champion(), fruit.asked_of()) == (2, desired.settled(2))
    assert fruit.follow(TRAIN, run) == "success"
    assert fruit.states(run)["deploy"] == "skipped"
    assert "rolled back by admin: not today" in fruit.live.task_log(TRAIN, run, "withdraw")


def test_a_breach_while_baking_rolls_back_by_itself(fruit):
    fruit.change(
        model=bad("nan_far_away"),
        training={"epochs": 4, "batch_size": 32, "learning_rate": 0.03},
        deployment={"strategy": "replace", "bake_minutes": 1},
    )
    fruit.live.wait_for(lambda: "canary_60" not in fruit.drawn(), "a graph without a canary")
    with fruit.traffic() as traffic:
        _run, states = fruit.train()
    assert {states[name] for name in ("deploy", "bake", "withdraw")} == {"success"}
    assert (fruit.champion(), fruit.asked_of()) == (2, desired.settled(2))
    back = fruit.live.store.history("fruit")[-1]
    assert (back.event, back.version, back.seconds is not None) == ("rollback", 2, True)
    assert traffic.failures == []


def test_a_release_whose_task_fails_for_good_is_red_and_its_candidate_is_withdrawn(fruit):
    fruit.change(model={"kind": "mlp", "hidden": [9]}, deployment=CANARY)
    fruit.live.wait_for(lambda: "canary_60" in fruit.drawn(), "the canary's steps in the graph")
    models = fruit.live.home / "models" / "fruit"
    before = fruit.champion()
    run = fruit.live.airflow().trigger(TRAIN)
    fruit.wait_for_state(run, "canary_20", "deferred")
    fruit.fail_by_hand(run, "canary_20")
    assert fruit.follow(TRAIN, run) == "failed"
    assert fruit.states(run)["withdraw"] == "success"
    assert fruit.champion() == before
    assert max(int(path.name) for path in models.glob("[0-9]*")) == before


def test_a_run_that_a_person_fails_in_its_canary_is_red_and_its_candidate_is_withdrawn(fruit):
    before = fruit.champion()
    run = fruit.live.airflow().trigger(TRAIN, seed=5)
    fruit.wait_for_state(run, "canary_20", "deferred")
    fruit.fail_by_hand(run)
    assert fruit.follow(TRAIN, run) == "failed"
    states = fruit.states(run)
    assert (states["deploy"], states["withdraw"]) == ("skipped", "success"), states
    assert (fruit.champion(), fruit.asked_of()) == (before, desired.settled(before))
    assert "canary_20 failed" in fruit.live.task_log(TRAIN, run, "end")


@pytest.mark.parametrize(("task", "what_follows"), [("train", "upstream_failed"), ("", "skipped")])
def test_a_training_that_a_person_fails_ends_red_be_it_the_task_or_its_run(
    fruit, task, what_follows
):
    run = fruit.live.airflow().trigger(TRAIN, epochs=10_000, patience=1000, learning_rate=0.0001)
    fruit.wait_for_state(run, "train", "running")
    fruit.fail_by_hand(run, task)
    assert fruit.follow(TRAIN, run) == "failed"
    states = fruit.states(run)
    assert {states[name] for name in ("evaluate", "deploy", "withdraw")} == {what_follows}, states
    log = fruit.live.task_log(TRAIN, run, "end")
    assert "train failed" in log
    assert "what to do: look at the log of train" in log


def test_a_run_that_fails_before_anything_is_published_fails_and_withdraws_nothing(fruit):
    rows = fruit.live.pipelines / "rows.csv"
    rows.write_text(csv_text().replace("red", "purple", 1))
    run = fruit.live.airflow().trigger(TRAIN)
    assert fruit.follow(TRAIN, run) == "failed"
    assert fruit.states(run)["withdraw"] in ("upstream_failed", "skipped")
    rows.write_text(csv_text())


def test_the_rollback_form_names_the_versions_and_says_how_long_it_took(fruit):
    def form():
        found = fruit.live.api().get(f"/api/v2/dags/{ROLLBACK}/details").json()
        return found["params"]["version"]["schema"]

    fruit.live.wait_for(
        lambda: "the champion now" in form()["values_display"].get("2", ""), "the form"
    )
    assert form()["enum"][0] is None
    assert form()["enum"][-2:] == [2, 1]
    run = fruit.live.airflow().trigger(ROLLBACK, version=1, reason="to see it go back")
    assert fruit.follow(ROLLBACK, run) == "success"
    assert fruit.champion() == 1
    assert "seconds_to_effect" in fruit.live.task_log(ROLLBACK, run, "rollback")
    content = {"logical_date": None, "conf": {"version": 99, "reason": "a mistake"}}
    reply = fruit.live.api().post(f"/api/v2/dags/{ROLLBACK}/dagRuns", json=content)
    assert reply.status_code == 400


def test_a_degraded_look_is_an_asset_event_with_its_reasons_and_a_healthy_one_is_none(fruit):
    def look():
        run = fruit.live.airflow().trigger(MONITOR)
        assert fruit.follow(MONITOR, run) == "success"
        found = fruit.live.api().get("/api/v2/assets/events", params={"source_dag_id": MONITOR})
        events = {one["source_run_id"]: one["extra"] for one in found.json()["asset_events"]}
        return run, events.get(run)

    assert look()[1] is None
    is_server = "pipeline_tasks.serving"
    [server] = [one for one in fruit.live.family() if is_server in command(one)]
    server.suspend()
    try:
        run, event = look()
    finally:
        server.resume()
    record = next(one for one in fruit.live.store.monitoring("fruit") if one.id == run)
    assert record.causes == ("service",)
    assert event["reasons"] == "; ".join(record.verdict.reasons)
    assert "does not answer" in event["reasons"]
    assert fruit.live.store.notices("fruit")[-1].title == "fruit is degraded: service"
