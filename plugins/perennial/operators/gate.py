"""The gate as a task: it decides by itself, and asks a person where the pipeline file says so."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from perennial.operators.asking import AskingOperator
from perennial.operators.step import StepOperator
from pipeline_tasks.config import PipelineConfig

VERDICT = "verdict"


class GateOperator(AskingOperator):
    """Runs the step `gate`; a refusal, or every verdict, can be put before a person.

    While it waits, the run is under "Required Actions" with the verdict's reasons and takes no
    worker slot. Approving a refused candidate promotes it, with the person's name in the history;
    rejecting one skips what follows.

    :param pipeline: says under `promotion.approval` who is asked; the trigger form can change it
        for one run
    """

    def __init__(self, *, pipeline: PipelineConfig, **kwargs: Any) -> None:
        subject = f"Promote the candidate {pipeline.name}?"
        super().__init__(step="gate", pipeline=pipeline, subject=subject, **kwargs)

    def execute(self, context: Context) -> Any:
        """Decide; ask a person, or go on."""
        ref = StepOperator.execute(self, context)
        wanted = context["params"].get("approval") or self.pipeline["promotion"]["approval"]
        is_yes = ref["summary"]["answer"] == "yes"
        if wanted == "never" or (is_yes and wanted == "refused"):
            return self.follow(context, ref)
        context["ti"].xcom_push(VERDICT, ref)
        return self.ask(context, ref, f"The gate says **{ref['summary']['answer']}**:\n\n")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """What the person said: promoted by their name, or skipped."""
        is_yes, person = self.answered(event)
        ref = context["ti"].xcom_pull(task_ids=self.task_id, key=VERDICT)
        if not is_yes:
            self.log.info("%s says no", person)
            self.skip(context, ref, set(self.downstream_task_ids))
        self.log.info("approved by %s", person)
        self.given = {"approved_by": person}
        return StepOperator.execute(self, context)
