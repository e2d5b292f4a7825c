"""What every route needs: the store as read so far, the pipelines, and a page as an answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlparse

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf
from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from perennial.ui import access
from pipeline_tasks import config
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.pages import rendering
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.reading import Journals
from pipeline_tasks.run import default_store

DONE = {
    "started": "The run has been started, with your reason; this page follows it.",
    "rolling-back": "The rollback has been started; the earlier version answers within seconds.",
    "approved": "Approved, by your name: the run goes on to export and deployment.",
    "refused": "Refused, by your name: the champion stays.",
    "snoozed": "The alarm is snoozed; the loop goes on deciding.",
}
TITLES = {401: "Please log in", 403: "Not allowed", 404: "Not found", 409: "Not now"}
# What Airflow says in a word, in words that help.
SAID = {
    "Not authenticated": "These pages are for the users of this Airflow.",
    "Token Expired": "Your login has expired.",
    "Forbidden": "Your role in Airflow does not let you see this. An administrator can give you "
    "one that does.",
}


@dataclass(frozen=True)
class Shown:
    """The store as this process has read it so far."""

    journals: Journals
    files: Files

    @staticmethod
    @cache
    def here() -> Shown:
        """One for the process: what was read once is kept."""
        store = default_store()
        return Shown(Journals(store), Files(store))


@cache
def _read(path: str, modified: float) -> PipelineConfig | ConfigError:
    try:
        return config.load(Path(path))
    except ConfigError as error:
        return error


def configs() -> tuple[list[PipelineConfig], list[str]]:
    """The good pipelines, and what is wrong with the others; a file is read when it changes."""
    found = [_read(str(path), path.stat().st_mtime) for path in config.files()]
    good = [one for one in found if isinstance(one, PipelineConfig)]
    return good, [str(one) for one in found if isinstance(one, ConfigError)]


def wanted(request: Request, user: BaseUser, name: str) -> PipelineConfig:
    """The pipeline of that name, if this user may see it. Raises an HTTPException otherwise."""
    access.require(request, user, name, "GET")
    for one in configs()[0]:
        if one.name == name:
            return one
    raise HTTPException(404, f"There is no good pipeline file {name}.yaml.")


def show(
    request: Request, template: str, *, status: int = 200, offline: bool = False, **values: Any
) -> HTMLResponse:
    """A page. offline: it fetches nothing; then `style` and `script` are what it carries."""
    text = rendering.render(
        template,
        root=request.scope.get("root_path", ""),
        home=_home(),
        said=DONE.get(request.query_params.get("done", ""), ""),
        offline=offline,
        **values,
    )
    return HTMLResponse(text, status)


async def failed(request: Request, error: Exception) -> Response:
    """A refusal or an error, in the form that was asked for."""
    assert isinstance(error, HTTPException)
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": error.detail}, error.status_code)
    is_login = error.status_code == 401
    return show(
        request,
        "message.html",
        status=error.status_code,
        title=TITLES.get(error.status_code, "That did not work"),
        text=SAID.get(str(error.detail), error.detail),
        link=_login(request) if is_login else request.scope.get("root_path", "") + "/",
        link_text="Log in to Airflow" if is_login else "All models",
        is_airflow=is_login,
        offline=is_login,  # without a login there is no style to fetch
        style=_style(),
        script="",
    )


@cache
def _style() -> str:
    return (rendering.STATIC / "pages.css").read_text()


def _home() -> str:
    """The path below which Airflow is."""
    return urlparse(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def _login(request: Request) -> str:
    """Where Airflow sends people to log in, by whatever auth manager, and back from there."""
    back = f"{request.scope.get('root_path', '')}/"
    if request.method == "GET":
        back = quote(request.url.path) + (f"?{request.url.query}" if request.url.query else "")
    return f"{_home()}/api/v2/auth/login?{urlencode({'next': back})}"
