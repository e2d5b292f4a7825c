"""Who may do what: Airflow's own users and roles, and requests that come from its own pages."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlparse

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.configuration import conf
from fastapi import HTTPException, Request, status

Method = Literal["GET", "POST", "PUT", "DELETE"]


def may(request: Request, user: BaseUser, pipeline: str, method: Method) -> bool:
    """Whether Airflow lets this user see (GET) or start (POST) the pipeline's training runs."""
    try:
        require(request, user, pipeline, method)
    except HTTPException:
        return False
    return True


def require(request: Request, user: BaseUser, pipeline: str, method: Method) -> None:
    """Raises an HTTPException with status 403 when Airflow says no."""
    check = requires_access_dag(method, DagAccessEntity.RUN, f"{pipeline}__train")
    try:
        check(request, user)
    except HTTPException as error:
        verb = "see" if method == "GET" else "change"
        raise HTTPException(
            error.status_code,
            f"Your role in Airflow does not let you {verb} {pipeline}. An administrator can give "
            "you one that does.",
        ) from None


def require_own_origin(request: Request) -> None:
    """Raises an HTTPException with status 403 for a request that another site has started.

    A browser says where a form was sent from. A program that brings its own token has no cookie
    that another site could make use of.
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    origin = request.headers.get("origin") or ""
    own = {request.headers.get("host"), urlparse(conf.get("api", "base_url", fallback="")).netloc}
    if urlparse(origin).netloc in own - {None, ""}:
        return
    raise HTTPException(
        status.HTTP_403_FORBIDDEN,
        f"This request came from {origin or 'nowhere that it names'}; actions are taken from "
        "Airflow's own pages only.",
    )
