"""A decision that may be put before a person."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

from perennial.operators.step import DecisionOperator
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.monitoring import notifying


class AskingOperator(DecisionOperator, ApprovalOperator):  # type: ignore[misc]
    """Waits for a person under "Required Actions", without a worker slot, if the step says so.

    :param subject: the question
    """

    def __init__(self, *, pipeline: PipelineConfig, subject: str, **kwargs: Any) -> None:
        # A person may take longer than any computation.
        kwargs |= {"execution_timeout": None, "subject": subject}
        super().__init__(pipeline=pipeline, **kwargs)

    def ask(self, context: Context, ref: dict[str, Any], head: str = "") -> Any:
        """Put the verdict's reasons before a person, and tell where to answer."""
        reasons = ref["summary"]["reasons"].split("; ")
        self.body = head + "\n".join(f"- {reason}" for reason in reasons)
        where = f"Answer under Required Actions of {self.dag_id} in Airflow."
        notifying.tell(self._run(context), self.subject, [*reasons, where])
        return ApprovalOperator.execute(self, context)

    def answered(self, event: dict[str, Any]) -> tuple[bool, str]:
        """Whether the person approved, and who it was."""
        if "error" in event:
            self.process_trigger_event_error(event)
        person = (event.get("responded_by_user") or {}).get("name") or "a person"
        return event["chosen_options"] == [self.APPROVE], person
