"""What the server does for a request, whatever transport brought it: REST and gRPC share it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline_tasks.core.store import Store
from pipeline_tasks.release.desired import Trial
from pipeline_tasks.serving import asking
from pipeline_tasks.serving.asking import Answer, Asked
from pipeline_tasks.serving.metrics import Metrics
from pipeline_tasks.serving.observed.prediction_log import PredictionLog, new_id
from pipeline_tasks.serving.rest.codec import Batch
from pipeline_tasks.serving.rest.failures import Failure
from pipeline_tasks.serving.versions import trial
from pipeline_tasks.serving.versions.model import Model
from pipeline_tasks.serving.versions.servable import State
from pipeline_tasks.serving.versions.shadow import Shadow
from pipeline_tasks.serving.versions.signatures import Signature
from pipeline_tasks.serving.versions.slot import Slot
from pipeline_tasks.serving.versions.watched import Versions

log = logging.getLogger(__name__)

DEADLINE_SECONDS = 30.0  # of a request that names none, as TensorFlow Serving's REST has it


Decode = Callable[[Signature], Batch]


class Service:
    """Routing, trials, batches, the prediction log and the metrics behind every transport.

    Used on one event loop. `versions` says who answers, `store` keeps what was asked and answered.
    Every method raises a Failure for what the client is to be told.
    """

    def __init__(
        self,
        versions: Versions,
        store: Store | None,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.versions = versions
        self._deadline_seconds = deadline_seconds
        self._predictions = PredictionLog(store, versions.folder) if store else None
        self.metrics = Metrics(log_counts=self._log_counts, versions=versions)
        self._shadow = Shadow(self._predictions)

    def start(self) -> None:
        """Look for versions from now on."""
        self.versions.start()

    def close(self) -> None:
        """Answer what is waiting, write what is logged, end the threads."""
        self.versions.close()
        if self._predictions:
            self._predictions.close()

    async def predict(self, asked: Asked, decode: Decode) -> Answer:
        """Outputs of a predict request; `decode` makes its arrays for the signature found."""
        return await self._answer(asked, "predict", decode)

    async def classify(self, asked: Asked, examples: Sequence[bytes]) -> Answer:
        """Outputs `classes` and `scores`, whichever there are, of serialized tf.Examples."""
        return await self._answer(asked, "classify", lambda _: asking.examples(examples))

    async def regress(self, asked: Asked, examples: Sequence[bytes]) -> Answer:
        """The output `outputs` of serialized tf.Examples."""
        return await self._answer(asked, "regress", lambda _: asking.examples(examples))

    def metadata(self, asked: Asked) -> dict[str, Any]:
        """The signatures of the version asked for, as TensorFlow Serving's JSON."""
        model, slot = self._hold(asked)
        slot.release()
        return model.metadata

    def states(self, asked: Asked) -> dict[int, State]:
        """The state of each version asked for."""
        return self.versions.states(asked.model, asked.version, asked.label)

    def refused(self, asked: Asked, verb: str, failure: Failure) -> None:
        """Count a request that its transport could not read."""
        if self.versions.is_known(asked.model):
            self.metrics.observe(asked.model, verb, asked.entrypoint, failure.code, 0.0)

    async def _answer(self, asked: Asked, verb: str, decode: Decode) -> Answer:
        began = time.perf_counter()
        status = "INTERNAL"
        try:
            answer = await self._routed(asked, verb, decode, new_id())
            status = "OK"
        except Failure as failure:
            status = failure.code
            raise
        finally:
            if self.versions.is_known(asked.model):
                seconds = time.perf_counter() - began
                self.metrics.observe(asked.model, verb, asked.entrypoint, status, seconds)
        self.metrics.observe_examples(asked.model, answer.rows)
        return answer

    async def _routed(self, asked: Asked, verb: str, decode: Decode, identity: str) -> Answer:
        """By the candidate where a canary's share says so, and by the default if that fails."""
        seconds = self._deadline_seconds
        if asked.deadline is not None:
            seconds = min(seconds, asked.deadline - time.monotonic())
        candidate = self._candidate(asked, identity)
        if candidate and candidate[0].mode == "canary":
            seconds /= 2  # each, so that the default can answer when the candidate does not
            tried = asked._replace(version=candidate[1].version)
            try:
                return (await self._by(tried, verb, decode, identity, seconds))[0]
            except Exception as error:  # counted as the candidate's; the client notices nothing
                if not isinstance(error, Failure):
                    log.exception("%s version %s failed", asked.model, candidate[1].version)
        answer, batch = await self._by(asked, verb, decode, identity, seconds)
        if candidate and candidate[0].mode == "shadow":
            counts = self.metrics.of(asked.model, candidate[1].version)
            self._shadow.ask(asked, candidate[1], counts, answer, batch)
        return answer

    def _candidate(self, asked: Asked, identity: str) -> tuple[Trial, Slot] | None:
        if asked.version is not None or asked.label is not None or asked.is_probe:
            return None
        table = self.versions.table(asked.model)
        return trial.candidate(table, asked.model, asked.key or identity) if table.trial else None

    async def _by(
        self, asked: Asked, verb: str, decode: Decode, identity: str, seconds: float
    ) -> tuple[Answer, Batch]:
        """One version's answer within `seconds`, counted as that version's and logged."""
        model, slot = self._hold(asked)
        began = time.perf_counter()
        status = "INTERNAL"
        try:
            signature = asking.find(model, asked.signature, verb)
            batch = decode(signature)
            outputs = await asking.ask(slot, signature, batch, seconds)
            status = "OK"
        except Failure as failure:
            status = failure.code
            raise
        finally:
            slot.release()
            took = time.perf_counter() - began
            if not asked.is_probe:
                counts = self.metrics.of(asked.model, slot.version)
                counts.requests[status] += 1
                counts.seconds.add(took)
        answer = Answer(outputs, batch.rows, slot.version, signature, identity)
        if not asked.is_probe:
            counts.rows += batch.rows
            counts.nonfinite_rows += trial.nonfinite_rows(outputs, batch.rows)
            if self._predictions:
                self._predictions.add(asking.record(asked, answer, batch, took))
        return answer, batch

    def _hold(self, asked: Asked) -> tuple[Model, Slot]:
        while True:
            slot = self.versions.slot(asked.model, asked.version, asked.label)
            if model := slot.hold():  # else it was let go between the two calls
                return model, slot

    def _log_counts(self) -> tuple[int, int]:
        return (
            (self._predictions.written, self._predictions.dropped) if self._predictions else (0, 0)
        )
