"""The pages of one version, of two, of one run, and of one question to the model."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Body, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from perennial.ui import access
from perennial.ui.scheduler import Scheduler, run_seen
from perennial.ui.shown import Shown, show, wanted
from pipeline_tasks.core.values import Ref
from pipeline_tasks.pages import trying
from pipeline_tasks.pages.run_page import StepSeen, run_page
from pipeline_tasks.pages.version import VersionPage, differences, version_page
from pipeline_tasks.run import server_url

KINDS = ("train", "monitor", "retrain", "rollback", "tune")
LATER = "9999"

router = APIRouter()


@router.get("/pipelines/{name}/versions/{number}")
def version(request: Request, user: GetUserDep, name: str, number: int) -> HTMLResponse:
    """One version."""
    return show(request, "version.html", page=_version(request, user, name, number))


@router.get("/pipelines/{name}/compare")
def compare(request: Request, user: GetUserDep, name: str, a: int, b: int) -> HTMLResponse:
    """Two versions side by side."""
    left, right = (_version(request, user, name, one) for one in (a, b))
    found = differences(left, right)
    return show(request, "compare.html", left=left, right=right, differences=found)


@router.get("/pipelines/{name}/runs/{run_id}")
def run(
    request: Request, user: GetUserDep, name: str, run_id: str, kind: str = "train"
) -> HTMLResponse:
    """One run, as Airflow and the store know it."""
    config = wanted(request, user, name)
    if kind not in KINDS:
        raise HTTPException(404, f"There are no runs of kind {kind!r}, only {', '.join(KINDS)}.")
    scheduler, dag = Scheduler(request), f"{name}__{kind}"
    try:
        found = scheduler.run(dag, run_id)
    except HTTPException as error:
        if error.status_code != 404:
            raise
        raise HTTPException(
            404,
            f"Airflow no longer knows run {run_id} of {dag}: it was cleared away, or made on the "
            "command line.",
        ) from None
    tasks = sorted(scheduler.tasks(dag, run_id), key=_when)
    steps = [_step(scheduler, dag, run_id, one) for one in tasks]
    shown = Shown.here()
    epochs = (found.get("conf") or {}).get("epochs")
    page = run_page(
        shown.journals.store,
        shown.files,
        config,
        run_seen(found),
        steps,
        kind=kind,
        epochs=epochs if isinstance(epochs, int) else None,
    )
    return show(request, "run.html", page=page)


@router.get("/pipelines/{name}/try")
def form(request: Request, user: GetUserDep, name: str) -> HTMLResponse:
    """A form made from what the champion takes."""
    config = wanted(request, user, name)
    shown = Shown.here()
    champion = shown.journals.store.champion(name)
    if champion is None:
        raise HTTPException(404, f"{name} has no champion yet: train one first, then try it.")
    fields = trying.fields(shown.files, champion)
    if fields is None:
        gone = f"What version {champion.version} takes is no longer in the store, or not whole"
        raise HTTPException(404, f"{gone}: train again, then try it.")
    return show(request, "try.html", config=config, fields=fields)


@router.post("/pipelines/{name}/try", dependencies=[Depends(access.require_own_origin)])
def answer(
    request: Request,
    user: GetUserDep,
    name: str,
    instance: Annotated[dict[str, Any], Body(embed=True)],
) -> HTMLResponse:
    """Ask the model server, and show what it says."""
    config = wanted(request, user, name)
    found = trying.ask(server_url(), name, instance, config.label.classes)
    return show(request, "answer.html", config=config, answer=found)


def _version(request: Request, user: Any, name: str, number: int) -> VersionPage:
    config = wanted(request, user, name)
    shown = Shown.here()
    page = version_page(shown.journals, shown.files, config, number)
    if page is None:
        raise HTTPException(404, f"{name} has had no version {number} as its champion.")
    return page


def _when(task: dict[str, Any]) -> tuple[str, str]:
    return task["start_date"] or LATER, task["end_date"] or LATER


def _step(scheduler: Scheduler, dag: str, run_id: str, task: dict[str, Any]) -> StepSeen:
    state = task["state"] or "waiting"
    has_ended = state in ("success", "skipped", "failed")
    left = scheduler.left(dag, run_id, task["task_id"]) if has_ended else None
    return StepSeen(
        id=task["task_id"],
        state=state,
        seconds=task["duration"],
        left=Ref.model_validate(left) if isinstance(left, dict) and "digest" in left else None,
    )
