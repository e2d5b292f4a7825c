"""Where the pages are; imports nothing, as every process of Airflow reads it."""

from __future__ import annotations

from urllib.parse import quote

PREFIX = "/perennial"
NAVIGATION, DAG_TAB, RUN_TAB = "models", "model", "what-it-did"


def in_airflow(path: str) -> str:
    """A page inside Airflow's frame, as a path below Airflow's own address.

    >>> in_airflow("/pipelines/digits")
    '/plugin/models/perennial/pipelines/digits'
    """
    return f"/plugin/{NAVIGATION}{PREFIX}{path}"


def pipeline(name: str) -> str:
    """The page of one pipeline."""
    return f"/pipelines/{name}"


def version(name: str, number: int) -> str:
    """The page of one version."""
    return f"/pipelines/{name}/versions/{number}"


def run(name: str, run_id: str) -> str:
    """The page of one run."""
    return f"/pipelines/{name}/runs/{quote(run_id, safe='')}"
