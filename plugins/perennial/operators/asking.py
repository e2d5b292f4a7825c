"""A decision that may be put before a person."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

from perennial.operators.step import DecisionOperator
from perennial.triggers.answer import AnswerTrigger
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.monitoring import notifying


class AskingOperator(DecisionOperator, ApprovalOperator):  # type: ignore[misc]
    """Waits for a person under "Required Actions", without a worker slot, if the step says so.

    An answer counts once it is given: a retry of a task that died with it takes it, and asks nobody
    again. A task that somebody clears asks anew.

    :param subject: the question
    """

    def __init__(self, *, pipeline: PipelineConfig, subject: str, **kwargs: Any) -> None:
        # A person may take longer than any computation.
        kwargs |= {"execution_timeout": None, "subject": subject}
        super().__init__(pipeline=pipeline, **kwargs)

    def ask(self, context: Context, ref: dict[str, Any], head: str = "") -> Any:
        """Put the verdict's reasons before a person, unless one has answered an earlier try."""
        if self._is_retry(context):
            trigger = AnswerTrigger(ti_id=str(context["ti"].id))
            self.defer(trigger=trigger, method_name="recall", kwargs={"ref": ref, "head": head})
        return self._ask(context, ref, head)

    def recall(
        self, context: Context, event: dict[str, Any] | None, ref: dict[str, Any], head: str
    ) -> Any:
        """Go on with the answer to an earlier try, or ask."""
        if event is None:
            return self._ask(context, ref, head)
        self.log.info("a person has answered before an earlier try died")
        return self.execute_complete(context, event)

    def _is_retry(self, context: Context) -> bool:
        """Whether this is another try since the task began, or since somebody cleared it."""
        ti = context["ti"]
        return ti.try_number > ti.max_tries - (self.retries or 0) + 1

    def _ask(self, context: Context, ref: dict[str, Any], head: str) -> Any:
        """Ask, and tell where to answer."""
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
