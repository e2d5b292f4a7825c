"""Buttons on a task's page that lead to the page about what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from perennial.ui import places

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

VERSIONED, JUDGED = ("deploy", "bake"), ("monitor", "collect")


class ModelPage(BaseOperatorLink):
    """The version that a task deployed, the pipeline that it looked at, or what its run did."""

    name = "Model"

    def get_link(self, operator: BaseOperator, *, ti_key: object) -> str:
        """The page's address; called when the task ends."""
        pipeline = operator.pipeline["name"]  # type: ignore[attr-defined]
        step = operator.step  # type: ignore[attr-defined]
        version = operator.left.get("version")  # type: ignore[attr-defined]
        if step in VERSIONED and isinstance(version, int):
            path = places.version(pipeline, version)
        elif step in JUDGED:
            path = places.pipeline(pipeline)
        else:
            kind = operator.dag_id.rpartition("__")[2]
            path = f"{places.run(pipeline, ti_key.run_id)}?kind={kind}"  # type: ignore[attr-defined]
        return conf.get("api", "base_url", fallback="").rstrip("/") + places.in_airflow(path)
