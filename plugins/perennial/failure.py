"""A task that has failed for good is told to people, by the pipeline's own notifiers."""

from __future__ import annotations

from airflow.sdk import BaseNotifier, Context
from airflow.sdk.exceptions import AirflowException

from perennial.connections import tell_connections
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.monitoring import notifying
from pipeline_tasks.run import Run

DIED = "a task's process ended before the task did: killed, or out of memory"


class FailureNotifier(BaseNotifier):
    """Says which task failed, why, and where its log is; of one task, once in the cool-down.

    A task whose process is gone cannot say it: then its DAG does, when the run has ended. What
    other libraries raise may hold anything, so only its kind is told; the log has the rest.

    :param pipeline: the pipeline as its file says
    """

    def __init__(self, pipeline: PipelineConfig) -> None:
        super().__init__()
        self.pipeline = pipeline

    def notify(self, context: Context) -> None:
        """Tell whoever the pipeline's file names."""
        tell_connections(self.pipeline.model_dump(mode="json", by_alias=True))
        run, ti = Run(config=self.pipeline, id=str(context["run_id"])), context.get("ti")
        if "exception" in context and ti:
            reasons = (_reason(context["exception"]), f"its log: {ti.log_url}")
            return notifying.failed(run, ti.dag_id, ti.task_id, reasons)
        where = f": {ti.log_url.partition('/tasks/')[0]}" if ti else ""
        reasons = (DIED, f"look at run {run.id} in Airflow{where}")
        return notifying.failed(run, context["dag"].dag_id, "", reasons)


def _reason(error: object) -> str:
    return str(error) if isinstance(error, AirflowException) else type(error).__name__
