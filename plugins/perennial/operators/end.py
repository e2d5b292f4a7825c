"""The end of a run that releases: red when a task failed, whatever was skipped since."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from perennial.operators.step import SKIPPED
from pipeline_tasks.core.errors import PipelineError

END = "end"


class EndOperator(BaseOperator):
    """Fails when a task of the run failed, or when somebody ended the run by hand.

    A run's colour is that of its last task. When a person marks a run as failed, Airflow skips
    what has not begun, and would call the run a success; only a teardown still runs then, so this
    is one.
    """

    ui_color = "#eeeeee"

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("task_id", END)
        kwargs["on_failure_callback"] = None  # what failed has been told
        super().__init__(**kwargs)
        self.as_teardown(on_failure_fail_dagrun=True)

    def execute(self, context: Context) -> None:
        """Look at what became of the others."""
        run = context["run_id"]
        found = context["ti"].get_task_states(dag_id=self.dag_id, run_ids=[run])[run]
        dag = context["dag"]
        states = {task.task_id: found.get(task.task_id) for task in dag.topological_sort()}  # type: ignore[no-untyped-call]
        if failed := [task for task, state in states.items() if state == "failed"]:
            raise _failure(f"{' and '.join(failed)} failed", failed[0])
        skipped = [task for task, state in states.items() if state == "skipped"]
        if skipped and skipped[0] not in self._decided(context):
            raise _failure(f"somebody ended the run by hand, before {skipped[0]}", skipped[0])
        self.log.info("no task failed; skipped by a decision: %s", ", ".join(skipped) or "none")

    def _decided(self, context: Context) -> set[str]:
        """What the run's decisions have skipped."""
        tasks = sorted(self.get_flat_relative_ids(upstream=True))
        left = context["ti"].xcom_pull(task_ids=tasks, key=SKIPPED)
        return {task for one in left if one for task in one}


def _failure(what: str, task: str) -> AirflowFailException:
    fix = f"look at the log of {task}; to go on from there, clear it with what follows"
    return AirflowFailException(PipelineError(what, fix=fix))
