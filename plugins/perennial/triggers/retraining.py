"""Waits until there is something to decide on, in the triggerer and without a worker slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import TransientError
from pipeline_tasks.monitoring import evidence
from pipeline_tasks.run import Run


class RetrainingTrigger(BaseTrigger):
    """Fires with what is to be decided on, or with nothing when another run waits for this one.

    :param pipeline: the pipeline as its file says, JSON
    :param run: the run's id
    :param dag: its DAG's
    :param poll_seconds: time between two looks at the store
    :param counted: the look of `monitor` after which labelled rows were counted last
    """

    def __init__(
        self,
        *,
        pipeline: dict[str, Any],
        run: str,
        dag: str,
        poll_seconds: float,
        counted: str = "",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pipeline, self.run_id, self.dag_id = pipeline, run, dag
        self.poll_seconds, self.counted = poll_seconds, counted

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the trigger survives a restart of the triggerer."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {
            "pipeline": self.pipeline,
            "run": self.run_id,
            "dag": self.dag_id,
            "poll_seconds": self.poll_seconds,
            "counted": self.counted,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look every `poll_seconds`; the files are read outside the event loop."""
        run = Run(PipelineConfig.model_validate(self.pipeline), self.run_id)
        while True:
            try:
                subject, self.counted = await asyncio.to_thread(
                    evidence.occasion, run, self.counted
                )
            except TransientError as error:
                self.log.warning("looking again in %s s: %s", self.poll_seconds, error)
                subject = ""
            if subject or await self._is_in_the_way():
                yield TriggerEvent(subject)  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poll_seconds)

    async def _is_in_the_way(self) -> bool:
        """One run at a time: what a person has triggered would wait for this one for ever."""
        count = sync_to_async(RuntimeTaskInstance.get_dr_count)
        return await count(dag_id=self.dag_id, states=["queued"]) > 0
