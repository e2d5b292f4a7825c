"""Airflow's connections, for parts that know nothing of Airflow."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException


def tell_connections(pipeline: dict[str, Any]) -> None:
    """Give this process the connections that a pipeline names and only Airflow's database knows."""
    for name in sorted(_named(pipeline)):
        key = f"AIRFLOW_CONN_{name.upper()}"
        if key not in os.environ:
            with suppress(AirflowNotFoundException):  # then the part says what is missing
                os.environ[key] = Connection.get(name).as_json()


def _named(section: Any) -> set[str]:
    """The connections that parts name, at any depth."""
    if isinstance(section, list):
        return set().union(*map(_named, section))
    if not isinstance(section, dict):
        return set()
    named = section.get("connection")
    found = {named} if isinstance(named, str) else set()
    return found.union(*map(_named, section.values()))
