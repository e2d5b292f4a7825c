"""Looks at what is served until there is a verdict, in the triggerer and without a worker slot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipeline_tasks import loop
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.core.values import Ref, Verdict
from pipeline_tasks.release.watching import LOOK_SECONDS
from pipeline_tasks.run import Run

log = logging.getLogger(__name__)


class WatchTrigger(BaseTrigger):
    """Fires with the answer once a look of the step has one.

    :param step: the step, whose module has `look` beside it
    :param pipeline: the pipeline as its file says, JSON
    :param run: the run's id
    :param by: who started it
    :param arguments: the step's, JSON; a reference is a mapping
    """

    def __init__(
        self, *, step: str, pipeline: dict[str, Any], run: str, by: str, arguments: dict[str, Any]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.step, self.pipeline, self.run_id, self.by = step, pipeline, run, by
        self.arguments = arguments

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How it survives a restart of the triggerer; what it saw is in the run's files."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {
            "step": self.step,
            "pipeline": self.pipeline,
            "run": self.run_id,
            "by": self.by,
            "arguments": self.arguments,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again; files and sockets are read outside the event loop."""
        while True:
            verdict = await asyncio.to_thread(self._look)
            if verdict is not None:
                yield TriggerEvent(verdict.answer.value)  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> Verdict | None:
        """One look; what passes by itself is looked at again."""
        run = Run(config=PipelineConfig.model_validate(self.pipeline), id=self.run_id, by=self.by)
        arguments = {
            name: Ref.model_validate(value) if isinstance(value, dict) else value
            for name, value in self.arguments.items()
        }
        try:
            return loop.look(self.step)(run, **arguments)
        except PipelineError as error:
            if not error.is_retryable:
                raise
            log.warning("%s: %s; looking again", self.step, error)
            return None
