"""What a person can do here: train, roll back, answer, snooze; each with a reason that is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse

from perennial.ui import access, places
from perennial.ui.scheduler import Scheduler
from perennial.ui.shown import Shown, wanted
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Answer, HistoryEntry
from pipeline_tasks.monitoring import notifying

router = APIRouter(dependencies=[Depends(access.require_own_origin)])

Reason = Annotated[str, Form(max_length=1000)]
OPTIONS = {"approve": ("Approve", Answer.YES), "refuse": ("Reject", Answer.NO)}


@router.post("/pipelines/{name}/train")
def train(
    request: Request, user: GetUserDep, name: str, reason: Reason = "", force: bool = Form(False)
) -> RedirectResponse:
    """Start a training run."""
    config, why = _asked(request, user, name, reason)
    run = Scheduler(request).trigger(f"{name}__train", {"reason": why, "force": force}, why)
    _record(config, user, "forced run" if force else "run", run, why)
    return _back(request, places.run(name, run), "started")


@router.post("/pipelines/{name}/rollback")
def rollback(
    request: Request, user: GetUserDep, name: str, reason: Reason = "", version: str = Form("")
) -> RedirectResponse:
    """Let an earlier version answer again; the step records it with the person's name."""
    _, why = _asked(request, user, name, reason)
    if version and not version.isdecimal():
        raise HTTPException(400, f"The version must be a number, not {version!r}.")
    conf = {"version": int(version) if version else None, "reason": why}
    Scheduler(request).trigger(f"{name}__rollback", conf, why)
    return _back(request, places.pipeline(name), "rolling-back")


@router.post("/pipelines/{name}/answer")
def answer(
    request: Request,
    user: GetUserDep,
    name: str,
    run: Annotated[str, Form()],
    choice: Annotated[Literal["approve", "refuse"], Form()],
    reason: Reason = "",
) -> RedirectResponse:
    """Approve or refuse the candidate that a run asks about."""
    config, why = _asked(request, user, name, reason)
    scheduler = Scheduler(request)
    open_ = [one for one in scheduler.activity(name, may_act=True).questions if one.run == run]
    if not open_:
        raise HTTPException(409, f"Run {run} asks nothing any more: somebody has answered.")
    option, said = OPTIONS[choice]
    scheduler.answer(open_[0], option)
    _record(config, user, "approval", run, why, answer=said)
    return _back(request, places.pipeline(name), f"{choice}d")


@router.post("/pipelines/{name}/snooze")
def snooze(
    request: Request,
    user: GetUserDep,
    name: str,
    hours: Annotated[int, Form(ge=1, le=720)],
    reason: Reason = "",
) -> RedirectResponse:
    """Tell nobody of the alarm for some hours; the loop goes on deciding."""
    config, why = _asked(request, user, name, reason)
    looks = Shown.here().journals.looks(name, 1)
    if not looks or looks[-1].answer != Answer.YES.value:
        raise HTTPException(409, f"{name} has no alarm now: there is nothing to snooze.")
    until = clock.now() + timedelta(hours=hours)
    notifying.snooze(Shown.here().journals.store, config.name, until, user.get_name(), why)
    return _back(request, places.pipeline(name), "snoozed")


def _asked(request: Request, user: BaseUser, name: str, reason: str) -> tuple[PipelineConfig, str]:
    """The pipeline and the reason. Raises an HTTPException when either will not do."""
    config = wanted(request, user, name)
    access.require(request, user, name, "POST")
    why = " ".join(reason.split())
    if len(why) < 3:
        raise HTTPException(400, "Say why, in a few words: it is kept in the history.")
    return config, why


def _record(
    config: PipelineConfig, user: BaseUser, event: str, run: str, why: str, **more: Any
) -> None:
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event=event,
        run=run,
        by=user.get_name(),
        reasons=(why,),
        **more,
    )
    Shown.here().journals.store.record(config.name, entry)


def _back(request: Request, path: str, done: str) -> RedirectResponse:
    return RedirectResponse(f"{request.scope['root_path']}{path}?done={done}", 303)
