"""A candidate that answers in the background what the default version has answered."""

from __future__ import annotations

import asyncio
import time

from pipeline_tasks.serving import asking
from pipeline_tasks.serving.asking import Answer, Asked
from pipeline_tasks.serving.metrics import Counts
from pipeline_tasks.serving.observed.prediction_log import PredictionLog
from pipeline_tasks.serving.rest.codec import Batch
from pipeline_tasks.serving.rest.failures import Failure
from pipeline_tasks.serving.versions import trial
from pipeline_tasks.serving.versions.slot import Slot

MAXIMUM_WAITING = 256
DEADLINE_SECONDS = 30.0


class Shadow:
    """Asks candidates without anybody waiting; what does not fit into its queue is counted."""

    def __init__(self, predictions: PredictionLog | None) -> None:
        self._predictions = predictions
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, asked: Asked, slot: Slot, counts: Counts, answer: Answer, batch: Batch) -> None:
        """Ask the candidate in `slot` as well, and compare with the answer the client got."""
        if len(self._tasks) >= MAXIMUM_WAITING:
            counts.shadow_dropped += batch.rows
            return
        task = asyncio.create_task(self._ask(asked, slot, counts, answer, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, asked: Asked, slot: Slot, counts: Counts, answer: Answer, batch: Batch
    ) -> None:
        began = time.perf_counter()
        loaded = slot.hold()
        if loaded is None:
            return
        try:
            signature = asking.find(loaded, answer.signature.name, "predict")
            outputs = await asking.ask(slot, signature, batch, DEADLINE_SECONDS)
        except Failure as failure:
            is_full = failure.status == 503
            counts.shadow_dropped += batch.rows * is_full
            counts.shadow_errors += batch.rows * (not is_full)
            return
        finally:
            slot.release()
            counts.seconds.add(time.perf_counter() - began)
        counts.nonfinite_rows += trial.nonfinite_rows(outputs, batch.rows)
        counts.shadow_rows += batch.rows
        counts.shadow_disagreements += trial.disagreements(answer.outputs, outputs, batch.rows)
        if self._predictions:
            took = time.perf_counter() - began
            found = Answer(outputs, batch.rows, slot.version, signature, answer.id)
            self._predictions.add(asking.record(asked, found, batch, took, is_shadow=True))
