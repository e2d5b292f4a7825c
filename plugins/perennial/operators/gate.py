"""The gate as a task: it decides by itself, and asks a person where the pipeline file says so."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

from perennial.operators.step import DecisionOperator, StepOperator
from pipeline_tasks import notifying
from pipeline_tasks.config import PipelineConfig

VERDICT = "verdict"


class GateOperator(DecisionOperator, ApprovalOperator):  # type: ignore[misc]
    """Runs the step `gate`; a refusal, or every verdict, can be put before a person.

    While it waits, the run is under "Required Actions" with the verdict's reasons and takes no
    worker slot. Approving a refused candidate promotes it, with the person's name in the history;
    rejecting one skips what follows.

    :param pipeline: says under `promotion.approval` who is asked; the trigger form can change it
        for one run
    """

    def __init__(self, *, pipeline: PipelineConfig, **kwargs: Any) -> None:
        # A person may take longer than any computation.
        kwargs |= {"execution_timeout": None, "subject": f"Promote the candidate {pipeline.name}?"}
        super().__init__(step="gate", pipeline=pipeline, **kwargs)

    def execute(self, context: Context) -> Any:
        """Decide; ask a person, or go on."""
        ref = StepOperator.execute(self, context)
        wanted = context["params"].get("approval") or self.pipeline["promotion"]["approval"]
        is_yes = ref["summary"]["answer"] == "yes"
        if wanted == "never" or (is_yes and wanted == "refused"):
            return self.follow(context, ref)
        context["ti"].xcom_push(VERDICT, ref)
        reasons = ref["summary"]["reasons"].split("; ")
        self.body = f"The gate says **{ref['summary']['answer']}**:\n\n" + "\n".join(
            f"- {reason}" for reason in reasons
        )
        where = f"Answer under Required Actions of {self.dag_id} in Airflow."
        notifying.tell(self._run(context), self.subject, [*reasons, where])
        return ApprovalOperator.execute(self, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """What the person said: promoted by their name, or skipped."""
        if "error" in event:
            self.process_trigger_event_error(event)
        person = (event.get("responded_by_user") or {}).get("name") or "a person"
        ref = context["ti"].xcom_pull(task_ids=self.task_id, key=VERDICT)
        if event["chosen_options"] != [self.APPROVE]:
            self.log.info("%s says no", person)
            self.skip(context, ref, set(self.downstream_task_ids))
        self.log.info("approved by %s", person)
        self.given = {"approved_by": person}
        return StepOperator.execute(self, context)
