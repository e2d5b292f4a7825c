"""What others can wait for: production has degraded."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException


class DegradedOperator(BaseOperator):
    """Emits an event of its outlets, with the verdict's reasons; a healthy run skips it.

    So any DAG can be scheduled on that asset. A backfill looks at the past, on which nobody is to
    act, and emits none.

    :param verdict: the id of the task that leaves the verdict
    """

    ui_color = "#fbe3df"

    def __init__(self, *, verdict: str, **kwargs: Any) -> None:
        kwargs.setdefault("task_id", "degraded")
        super().__init__(**kwargs)
        self.verdict = verdict

    def execute(self, context: Context) -> None:
        """Tell who waits for it why."""
        if context["dag_run"].run_type == "backfill":
            raise AirflowSkipException("a backfill: nobody is told of what is past")
        ref = context["ti"].xcom_pull(self.verdict)
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {"digest": ref["digest"], **ref["summary"]}
        self.log.info("told whoever waits for it: %s", ref["summary"]["reasons"])
