"""Senses that production has degraded."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseSensorOperator, Context

from perennial.triggers.degradation import DegradationTrigger
from pipeline_tasks.run import default_store


class DegradationSensor(BaseSensorOperator):
    """Succeeds when the newest monitoring verdict is degraded and has not been decided on yet.

    It waits deferred, for as long as it takes: that is a healthy pipeline's normal state.
    Its XCom is the monitoring record's id.

    :param pipeline: the pipeline's name
    :param poll_seconds: time between two looks at the store
    """

    ui_color = "#e9f7ec"

    def __init__(self, *, pipeline: str, poll_seconds: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.poll_seconds = poll_seconds

    def execute(self, context: Context) -> str:
        """Look once, then wait in the triggerer."""
        record = default_store().undecided(self.pipeline)
        if record is None:
            self.log.info("%s is healthy, or its last alarm is decided; waiting", self.pipeline)
            trigger = DegradationTrigger(self.pipeline, self.poll_seconds)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        return self.execute_complete(context, record.id)

    def execute_complete(self, context: Context, event: str) -> str:
        """Say what was seen, and pass the record's id on."""
        for record in default_store().monitoring(self.pipeline):
            if record.id == event:
                self.log.warning(
                    "%s is degraded (%s): %s",
                    self.pipeline,
                    ", ".join(record.causes),
                    "; ".join(record.verdict.reasons),
                )
        return event
