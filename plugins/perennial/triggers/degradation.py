"""Waits for production to degrade, in the triggerer and without a worker slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipeline_tasks.core.errors import TransientError
from pipeline_tasks.run import default_store


class DegradationTrigger(BaseTrigger):
    """Fires with the id of the newest degraded monitoring record that nobody has decided on."""

    def __init__(self, pipeline: str, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pipeline = pipeline
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the trigger survives a restart of the triggerer."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"pipeline": self.pipeline, "poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look every `poll_seconds`; the files are read outside the event loop."""
        store = default_store()
        while True:
            try:
                record = await asyncio.to_thread(store.undecided, self.pipeline)
            except TransientError as error:
                self.log.warning("looking again in %s s: %s", self.poll_seconds, error)
                record = None
            if record is not None:
                yield TriggerEvent(record.id)  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poll_seconds)
