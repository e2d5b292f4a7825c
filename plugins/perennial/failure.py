"""A task that has failed for good is told to people, by the pipeline's own notifiers."""

from __future__ import annotations

from airflow.sdk import BaseNotifier, Context
from airflow.sdk.exceptions import AirflowException

from perennial.connections import tell_connections
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.monitoring import notifying
from pipeline_tasks.run import Run

DIED = "its process ended before it did: killed, or out of memory"


class FailureNotifier(BaseNotifier):
    """Says which task failed, why, and where its log is; of one task, once in the cool-down.

    What other libraries raise may hold anything, so only its kind is told; the log has the rest.

    :param pipeline: the pipeline as its file says
    """

    def __init__(self, pipeline: PipelineConfig) -> None:
        super().__init__()
        self.pipeline = pipeline

    def notify(self, context: Context) -> None:
        """Tell whoever the pipeline's file names."""
        ti = context["ti"]
        tell_connections(self.pipeline.model_dump(mode="json", by_alias=True))
        run = Run(config=self.pipeline, id=ti.run_id)
        reasons = (_reason(context.get("exception")), f"its log: {ti.log_url}")
        notifying.failed(run, ti.dag_id, ti.task_id, reasons)


def _reason(error: object) -> str:
    if error is None:
        return DIED
    return str(error) if isinstance(error, AirflowException) else type(error).__name__
