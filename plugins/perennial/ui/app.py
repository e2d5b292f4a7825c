"""The pages' routes: each refuses whoever is not logged in, and shows what the store says."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from perennial.ui import access, actions, looking, places
from perennial.ui.scheduler import Scheduler
from perennial.ui.shown import Shown, configs, failed, show, wanted
from pipeline_tasks.pages import overview, rendering
from pipeline_tasks.pages.pipeline import SPANS, Asked, pipeline_page

SECURITY = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'self'; form-action 'self'",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
STATIC_SECONDS = 300

router = APIRouter()


@cache
def pages() -> FastAPI:
    """The application. Its own documentation pages are off: they would need no login."""
    app = FastAPI(
        title="Perennial's pages",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_started,
        dependencies=[Depends(get_user)],
    )
    app.include_router(router)
    app.include_router(looking.router)
    app.include_router(actions.router)
    app.add_exception_handler(HTTPException, failed)
    rendering.compile_all()

    @app.middleware("http")
    async def secure(request: Request, proceed: Any) -> Response:
        reply: Response = await proceed(request)
        for name, value in SECURITY.items():
            reply.headers.setdefault(name, value)
        return reply

    return app


@asynccontextmanager
async def _started(app: FastAPI) -> AsyncIterator[None]:
    """Called by Airflow when its server has started: what was imported until then stays.

    So the garbage collector need not look at it any more; a pass over Airflow's 600,000 objects
    would cost 0.4 CPU seconds, in the middle of a request.
    """
    gc.freeze()
    yield


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """The style, the script and the pictures."""
    known = {path.name: path for path in rendering.STATIC.iterdir()}
    if name not in known:
        raise HTTPException(404, f"There is no file {name} here.")
    return FileResponse(known[name], headers={"cache-control": f"max-age={STATIC_SECONDS}"})


@router.get("/")
def models(request: Request, user: GetUserDep) -> HTMLResponse:
    """Every pipeline this user may see."""
    shown = Shown.here()
    found, problems = configs()
    seen = [one for one in found if access.may(request, user, one.name, "GET")]
    acting = [one.name for one in seen if access.may(request, user, one.name, "POST")]
    activities = Scheduler(request).activities([one.name for one in seen], acting)
    rows = overview.rows(shown.journals, shown.files, seen, activities)
    return show(request, "models.html", rows=rows, problems=problems)


@router.get("/pipelines/{name}")
def pipeline(
    request: Request,
    user: GetUserDep,
    name: str,
    span: int = SPANS[1],
    look: str = "",
    feature: str = "",
) -> HTMLResponse:
    """One pipeline."""
    config = wanted(request, user, name)
    scheduler = Scheduler(request)
    activity = scheduler.activity(name, may_act=access.may(request, user, name, "POST"))
    last = activity.last_run
    tasks = scheduler.tasks(last.dag, last.id) if last else []
    states = {one["task_id"]: one["state"] or "" for one in tasks}
    shown = Shown.here()
    asked = Asked(min(max(span, 2), SPANS[-1]), look, feature)
    page = pipeline_page(shown.journals, shown.files, config, activity, asked, states)
    return show(request, "pipeline.html", page=page, spans=SPANS, can_snooze=True)


@router.get("/dags/{dag_id}")
def dag(request: Request, user: GetUserDep, dag_id: str) -> Response:
    """The tab of a DAG: its pipeline's page."""
    name = dag_id.rpartition("__")[0]
    if not name or name not in {one.name for one in configs()[0]}:
        return show(
            request,
            "message.html",
            title="Not one of Perennial's",
            text=f"{dag_id} belongs to no pipeline file, so there is no model to show.",
            link=None,
        )
    return RedirectResponse(f"{request.scope['root_path']}{places.pipeline(name)}")


@router.get("/dags/{dag_id}/runs/{run_id}")
def dag_run(request: Request, user: GetUserDep, dag_id: str, run_id: str) -> Response:
    """The tab of a run."""
    name, _, kind = dag_id.rpartition("__")
    path = f"{places.run(name, run_id)}?kind={kind}" if name else f"/dags/{dag_id}"
    return RedirectResponse(f"{request.scope['root_path']}{path}")
