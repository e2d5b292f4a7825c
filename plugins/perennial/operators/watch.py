"""A step that watches what is served, as a task that waits without a worker slot."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from perennial.operators.end import END
from perennial.operators.step import DecisionOperator, StepOperator
from perennial.triggers.watch import WatchTrigger
from pipeline_tasks import loop
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.values import Ref

WITHDRAW = "withdraw"


class WatchOperator(DecisionOperator):
    """Waits in the triggerer until the step has a verdict, and then runs the step.

    A yes goes on, and after the last watch of a run there is nothing to withdraw. Anything else
    skips what follows but `withdraw` and the end. What was seen is kept in the run's files, so that
    neither a new triggerer nor a retry begins again.

    :param step: a step whose module has `look` beside it
    """

    ui_color = "#f3e8fb"

    def __init__(self, *, pipeline: PipelineConfig, **kwargs: Any) -> None:
        # Its own time limit is in the pipeline file.
        super().__init__(pipeline=pipeline, **kwargs | {"execution_timeout": None})

    def execute(self, context: Context) -> dict[str, Any]:
        """Look once, and wait in the triggerer for as long as it is too early to say."""
        if self.call(loop.look(self.step), context) is None:
            run, arguments = self._run(context), self._arguments(context)
            trigger = WatchTrigger(
                step=self.step,
                pipeline=self.pipeline,
                run=run.id,
                by=run.by,
                arguments={
                    name: value.model_dump(mode="json") if isinstance(value, Ref) else value
                    for name, value in arguments.items()
                },
            )
            self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        return self.execute_complete(context, None)

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """There is a verdict: the step finds it and says what was seen."""
        return self.follow(context, StepOperator.execute(self, context))

    def skipped(self, *, is_yes: bool) -> set[str]:
        """What follows, after anything but a yes; after the last yes, withdraw."""
        following = set(self.downstream_task_ids)
        if not is_yes:
            return following - {WITHDRAW, END}
        return {WITHDRAW} if END in following else set()
