"""Airflow as the user who asks sees it: its public REST API, called within this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import anyio.from_thread
import httpx
from fastapi import HTTPException, Request

from pipeline_tasks.core import clock
from pipeline_tasks.pages.activity import Activity, Question, RunSeen

MOST_RUNS = 25
PAGE = 100
COOKIES = ("cookie", "authorization")


class Scheduler:
    """Calls in the user's name, so that Airflow itself decides what may be seen and done."""

    def __init__(self, request: Request) -> None:
        self._headers = {name: request.headers[name] for name in COOKIES if name in request.headers}

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """What Airflow answers. Raises an HTTPException with its refusal."""
        reply = anyio.from_thread.run(self._send, method, path, more)
        if reply.is_success:
            return reply.json() if reply.content else None
        raise HTTPException(reply.status_code, _refusal(reply))

    async def _send(self, method: str, path: str, more: Mapping[str, Any]) -> httpx.Response:
        app = import_module("airflow.api_fastapi.main").app
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://airflow/api/v2", headers=self._headers
        ) as client:
            return await client.request(method, path, **more)

    def activities(self, pipelines: Iterable[str], may_act: Iterable[str]) -> dict[str, Activity]:
        """What is going on in each pipeline: its last training run, what is due, who is asked."""
        names, acting = list(pipelines), set(may_act)
        dags = self._dags("perennial")
        questions = self._questions()
        trains = [f"{name}__train" for name in names]
        body = {"dag_ids": trains, "order_by": "-run_after", "page_limit": PAGE}
        found = self.ask("POST", "/dags/~/dagRuns/list", json=body)["dag_runs"]
        runs: dict[str, list[RunSeen]] = {}
        for one in found:
            runs.setdefault(one["dag_id"], []).append(run_seen(one))
        return {
            name: _activity(
                name,
                dags,
                runs.get(f"{name}__train") or self._runs(f"{name}__train", 1, dags),
                questions=questions,
                may_act=name in acting,
            )
            for name in names
        }

    def activity(self, name: str, *, may_act: bool) -> Activity:
        """The same of one pipeline, with more of its runs."""
        dags = self._dags(name)
        runs = self._runs(f"{name}__train", MOST_RUNS, dags)
        found = _activity(name, dags, runs, questions=self._questions(), may_act=may_act)
        return replace(found, others=tuple(self._runs(f"{name}__rollback", 1, dags)))

    def run(self, dag: str, run: str) -> dict[str, Any]:
        """One run."""
        found: dict[str, Any] = self.ask("GET", f"/dags/{dag}/dagRuns/{_quoted(run)}")
        return found

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """The run's tasks."""
        path = f"/dags/{dag}/dagRuns/{_quoted(run)}/taskInstances"
        found: list[dict[str, Any]] = self.ask("GET", path, params={"limit": PAGE})[
            "task_instances"
        ]
        return found

    def left(self, dag: str, run: str, task: str) -> Any:
        """What a task has left in XCom, or None."""
        path = f"/dags/{dag}/dagRuns/{_quoted(run)}/taskInstances/{task}/xcomEntries/return_value"
        try:
            return self.ask("GET", path, params={"deserialize": "true"})["value"]
        except HTTPException:
            return None

    def trigger(self, dag: str, conf: Mapping[str, Any], note: str) -> str:
        """Start a run; its id. Raises an HTTPException with what Airflow has against it."""
        body = {"logical_date": None, "conf": dict(conf), "note": note}
        return str(self.ask("POST", f"/dags/{dag}/dagRuns", json=body)["dag_run_id"])

    def answer(self, question: Question, option: str) -> None:
        """Answer what a run asks."""
        path = (
            f"/dags/{question.dag}/dagRuns/{_quoted(question.run)}"
            f"/taskInstances/{question.task}/-1/hitlDetails"
        )
        self.ask("PATCH", path, json={"chosen_options": [option], "params_input": {}})

    def _dags(self, tag: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while True:
            params = {"tags": tag, "limit": PAGE, "offset": len(found)}
            page = self.ask("GET", "/dags", params=params)
            found |= {one["dag_id"]: one for one in page["dags"]}
            if not page["dags"] or len(found) >= page["total_entries"]:
                return found

    def _runs(self, dag: str, limit: int, dags: Mapping[str, Any]) -> list[RunSeen]:
        if dag not in dags:
            return []
        params = {"order_by": "-run_after", "limit": limit}
        found = self.ask("GET", f"/dags/{dag}/dagRuns", params=params)
        return [run_seen(one) for one in found["dag_runs"]]

    def _questions(self) -> list[Question]:
        params = {"response_received": "false", "limit": PAGE}
        try:
            found = self.ask("GET", "/dags/~/dagRuns/~/hitlDetails", params=params)
        except HTTPException:  # a role that may not see questions may see the rest
            return []
        return [_question(one) for one in found["hitl_details"] if _is_open(one)]


def _activity(
    name: str,
    dags: Mapping[str, Any],
    runs: list[RunSeen],
    *,
    questions: list[Question],
    may_act: bool,
) -> Activity:
    train, monitor = dags.get(f"{name}__train"), dags.get(f"{name}__monitor")
    return Activity(
        is_known=train is not None,
        runs=tuple(runs),
        next_run=_moment(train and train.get("next_dagrun_run_after")),
        next_look=_moment(monitor and monitor.get("next_dagrun_run_after")),
        is_paused=bool(train and train["is_paused"]),
        questions=tuple(one for one in questions if one.dag.rpartition("__")[0] == name),
        may_act=may_act,
    )


def run_seen(one: Mapping[str, Any]) -> RunSeen:
    """One of Airflow's runs."""
    conf = one.get("conf") or {}
    return RunSeen(
        id=one["dag_run_id"],
        dag=one["dag_id"],
        state=one["state"],
        started=_moment(one["start_date"] or one["queued_at"] or one["run_after"]),
        ended=_moment(one["end_date"]),
        by=one.get("triggering_user_name") or one["run_type"],
        reason=conf.get("reason") or "",
        seconds=one.get("duration"),
    )


def _is_open(one: Mapping[str, Any]) -> bool:
    return one["task_instance"]["state"] in ("awaiting_input", "deferred", "running")


def _question(one: Mapping[str, Any]) -> Question:
    task = one["task_instance"]
    return Question(
        dag=task["dag_id"],
        run=task["dag_run_id"],
        task=task["task_id"],
        subject=one["subject"],
        body=one.get("body") or "",
        since=_moment(one["created_at"]) or "",
    )


def _moment(text: str | None) -> str | None:
    return clock.utc(text) if text else None


def _quoted(run: str) -> str:
    return str(httpx.URL("/").copy_with(path=f"/{run}").raw_path.decode().removeprefix("/"))


def _refusal(reply: httpx.Response) -> str:
    try:
        detail = reply.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = reply.text[:300]
    return detail if isinstance(detail, str) else str(detail)
