"""The few calls of Airflow's REST API that the demo makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from local.environment import USER, Local, LocalError

POLL_SECONDS = 0.5
ENDED = {"success", "failed"}
TASK_ENDED = {"success", "failed", "skipped", "upstream_failed"}


class Airflow:
    """Airflow as its admin sees it."""

    def __init__(self, local: Local) -> None:
        self._http = httpx.Client(base_url=local.ui, timeout=60)
        credentials = {"username": USER, "password": local.password()}
        token = self._http.post("/auth/token", json=credentials).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

    def wait_for_dag(self, dag: str, *, timeout_seconds: float = 120) -> None:
        """Wait until Airflow has read the DAG. Raises LocalError when it does not."""
        deadline = time.monotonic() + timeout_seconds
        while self._http.get(f"/api/v2/dags/{dag}").status_code != httpx.codes.OK:
            if time.monotonic() > deadline:
                raise LocalError(f"Airflow does not show {dag}; look at its import errors")
            time.sleep(POLL_SECONDS)

    def trigger(self, dag: str, **conf: Any) -> str:
        """Start a run by hand; returns its id."""
        content = {"logical_date": None, "conf": conf}
        reply = self._http.post(f"/api/v2/dags/{dag}/dagRuns", json=content)
        return str(reply.raise_for_status().json()["dag_run_id"])

    def state(self, dag: str, run: str) -> str | None:
        """A run's state; None when there is no such run."""
        reply = self._http.get(f"/api/v2/dags/{dag}/dagRuns/{run}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(reply.raise_for_status().json()["state"])

    def running(self, dag: str) -> str:
        """The id of the run that is under way; empty when there is none."""
        reply = self._http.get(f"/api/v2/dags/{dag}/dagRuns", params={"state": "running"})
        runs = reply.raise_for_status().json()["dag_runs"]
        return str(runs[0]["dag_run_id"]) if runs else ""

    def follow(
        self, dag: str, run: str, show: Callable[[str, str], None], *, timeout_seconds: float = 900
    ) -> str:
        """Show each change of a task's state until the run ends; returns the run's state."""
        deadline = time.monotonic() + timeout_seconds
        seen: dict[str, str] = {}
        while True:
            state = self.state(dag, run) or "missing"
            path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances"
            for task in self._http.get(path).raise_for_status().json()["task_instances"]:
                name, found = task["task_id"], task["state"] or "waiting"
                if found != seen.get(name) and found != "waiting":
                    show(name, found)
                seen[name] = found
            if state in ENDED:
                return state
            if time.monotonic() > deadline:
                raise LocalError(f"{dag} run {run} is still {state} after {timeout_seconds:.0f} s")
            time.sleep(POLL_SECONDS)
