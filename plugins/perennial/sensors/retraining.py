"""Senses that there is something to decide on."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from perennial.triggers.retraining import RetrainingTrigger
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.monitoring import evidence
from pipeline_tasks.run import Run


class RetrainingSensor(BaseSensorOperator):
    """Succeeds when a retraining is worth a decision.

    That is when the newest monitoring verdict is degraded and nobody has decided on it, when the
    champion's age, new labelled rows or a change's growing rows call for training, or when a person
    has triggered the run with a reason. It waits deferred, for as long as it takes: that is a
    healthy pipeline's normal state. Its XCom is what is to be decided on: a monitoring record's id,
    `due` or `by_hand`.

    :param pipeline: the pipeline as its file says
    :param poll_seconds: time between two looks at the store
    """

    ui_color = "#e9f7ec"

    def __init__(self, *, pipeline: PipelineConfig, poll_seconds: float = 5.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.pipeline = pipeline.model_dump(mode="json", by_alias=True)
        self.poll_seconds = poll_seconds

    def execute(self, context: Context) -> str:
        """Look once, then wait in the triggerer."""
        if reason := context["params"].get("reason"):
            self.log.info("a person wants a retraining: %s", reason)
            return evidence.BY_HAND
        run = Run(PipelineConfig.model_validate(self.pipeline), context["dag_run"].run_id)
        subject, counted = evidence.occasion(run)
        if not subject:
            self.log.info("nothing calls for a retraining of %s; waiting", run.config.name)
            trigger = RetrainingTrigger(
                pipeline=self.pipeline,
                run=run.id,
                dag=context["dag_run"].dag_id,
                poll_seconds=self.poll_seconds,
                counted=counted,
            )
            self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        return self.execute_complete(context, subject)

    def execute_complete(self, context: Context, event: str) -> str:
        """Say what was seen, and pass it on; without anything, the run makes room for another."""
        if not event:
            raise AirflowSkipException("a run triggered by hand waits for this one to end")
        run = Run(PipelineConfig.model_validate(self.pipeline), context["dag_run"].run_id)
        for record in run.store.monitoring(run.config.name):
            if record.id == event:
                self.log.warning(
                    "%s is degraded (%s): %s",
                    run.config.name,
                    ", ".join(record.causes),
                    "; ".join(record.verdict.reasons),
                )
        return event
