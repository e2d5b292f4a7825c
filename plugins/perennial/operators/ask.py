"""A person's word on a retraining, as a task of its own."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

from perennial.operators.step import DecisionOperator, StepOperator
from pipeline_tasks import notifying
from pipeline_tasks.config import PipelineConfig


class AskOperator(DecisionOperator, ApprovalOperator):  # type: ignore[misc]
    """Asks a person when the step `decide` says so, and passes on at once when it says yes.

    While it waits, the run is under "Required Actions" with the reasons and takes no worker slot.
    Approving trains; rejecting skips what follows. Either is kept in the history with the person's
    name, and closes the episode. The step repeats what its run has decided, so that after an answer
    a retry does not ask again.
    """

    def __init__(self, *, pipeline: PipelineConfig, **kwargs: Any) -> None:
        # A person may take longer than any computation.
        subject = f"Retrain {pipeline.name} once more?"
        kwargs |= {"execution_timeout": None, "subject": subject}
        super().__init__(step="decide", pipeline=pipeline, **kwargs)

    def execute(self, context: Context) -> Any:
        """Go on, or ask."""
        ref = StepOperator.execute(self, context)
        if ref["summary"]["answer"] != "ask":
            self.log.info("nobody needs to be asked")
            return self.follow(context, ref)
        reasons = ref["summary"]["reasons"].split("; ")
        self.body = "\n".join(f"- {reason}" for reason in reasons)
        where = f"Answer under Required Actions of {self.dag_id} in Airflow."
        notifying.tell(self._run(context), self.subject, [*reasons, where])
        return ApprovalOperator.execute(self, context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """What the person said, kept in the history."""
        if "error" in event:
            self.process_trigger_event_error(event)
        person = (event.get("responded_by_user") or {}).get("name") or "a person"
        is_yes = event["chosen_options"] == [self.APPROVE]
        self.given = {"approved_by" if is_yes else "refused_by": person}
        return self.follow(context, StepOperator.execute(self, context))
