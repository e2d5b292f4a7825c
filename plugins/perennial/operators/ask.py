"""A person's word on a retraining, as a task of its own."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from perennial.operators.asking import AskingOperator
from perennial.operators.step import StepOperator
from pipeline_tasks.config import PipelineConfig


class AskOperator(AskingOperator):
    """Asks a person when the step `decide` says so, and passes on at once when it says yes.

    While it waits, the run is under "Required Actions" with the reasons and takes no worker slot.
    Approving trains; rejecting skips what follows. Either is kept in the history with the person's
    name, and closes the episode. The step repeats what its run has decided, so that after an answer
    a retry does not ask again.
    """

    def __init__(self, *, pipeline: PipelineConfig, **kwargs: Any) -> None:
        subject = f"Retrain {pipeline.name} once more?"
        super().__init__(step="decide", pipeline=pipeline, subject=subject, **kwargs)

    def execute(self, context: Context) -> Any:
        """Go on, or ask."""
        ref = StepOperator.execute(self, context)
        if ref["summary"]["answer"] != "ask":
            self.log.info("nobody needs to be asked")
            return self.follow(context, ref)
        return self.ask(context, ref)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """What the person said, kept in the history."""
        is_yes, person = self.answered(event)
        self.given = {"approved_by" if is_yes else "refused_by": person}
        return self.follow(context, StepOperator.execute(self, context))
