"""What the server does for a request, whatever transport brought it: REST and gRPC share it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.serving import signatures
from pipeline_tasks.serving.batching import Batcher
from pipeline_tasks.serving.codec import Array, Batch
from pipeline_tasks.serving.failures import Failure, bad_request
from pipeline_tasks.serving.metrics import Metrics
from pipeline_tasks.serving.model import Model
from pipeline_tasks.serving.prediction_log import Answered, PredictionLog
from pipeline_tasks.serving.signatures import Signature
from pipeline_tasks.serving.versions import State, Versions


@dataclass(frozen=True)
class Asked:
    """Whom a request asks, and under which terms."""

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = ""  # empty: serving_default
    key: str = ""  # of a trial's share; empty: the prediction id
    is_probe: bool = False  # answered, but neither logged nor part of a trial
    deadline: float | None = None  # of time.monotonic
    entrypoint: str = "REST"


@dataclass(frozen=True)
class Answer:
    """What a client gets: one array an output, and who answered."""

    outputs: Mapping[str, Array]
    rows: int
    version: int
    signature: str
    id: str  # row i has the prediction id `<id>-<i>`


Decode = Callable[[Signature], Batch]


class Service:
    """Routing, batches, the prediction log and the metrics behind every transport.

    Used on one event loop. `versions` says who answers, `store` keeps what was asked and answered.
    Every method raises a Failure for what the client is to be told.
    """

    def __init__(self, versions: Versions, store: Store | None) -> None:
        self.versions = versions
        self._batcher: Batcher | None = None
        self._predictions = PredictionLog(store) if store else None
        self.metrics = Metrics(log_counts=self._log_counts, versions=versions.answering)

    def start(self) -> None:
        """Look for versions from now on."""
        self.versions.start()

    def close(self) -> None:
        """Answer what is waiting, write what is logged, end the threads."""
        self.versions.stop()
        if self._batcher:
            self._batcher.close()
        if self._predictions:
            self._predictions.close()

    async def predict(self, asked: Asked, decode: Decode) -> Answer:
        """Outputs of a predict request; `decode` makes its arrays for the signature found."""
        return await self._answer(asked, "predict", decode)

    async def classify(self, asked: Asked, examples: Sequence[bytes]) -> Answer:
        """Outputs `classes` and `scores`, whichever there are, of serialized tf.Examples."""
        return await self._answer(asked, "classify", lambda signature: _fed(signature, examples))

    async def regress(self, asked: Asked, examples: Sequence[bytes]) -> Answer:
        """The output `outputs` of serialized tf.Examples."""
        return await self._answer(asked, "regress", lambda signature: _fed(signature, examples))

    def metadata(self, asked: Asked) -> dict[str, Any]:
        """The signatures of the version asked for, as TensorFlow Serving's JSON."""
        return self._model(asked).metadata

    def states(self, asked: Asked) -> dict[int, State]:
        """The state of each version asked for."""
        if asked.label is not None:
            raise _unknown_label(asked.label)
        return self.versions.states(asked.model, asked.version)

    async def _answer(self, asked: Asked, verb: str, decode: Decode) -> Answer:
        began = time.perf_counter()
        status = 500
        try:
            answer = await self._ask(asked, verb, decode, began)
            status = 200
        except Failure as failure:
            status = failure.status
            raise
        finally:
            if self.versions.is_known(asked.model):
                self.metrics.observe(asked.model, status, time.perf_counter() - began)
        return answer

    async def _ask(self, asked: Asked, verb: str, decode: Decode, began: float) -> Answer:
        model = self._model(asked)
        signature = _signature(model, asked.signature, verb)
        batch = decode(signature)
        if self._batcher is None:
            self._batcher = Batcher(asyncio.get_running_loop())
        outputs = await self._batcher.ask(signature, batch.arrays, batch.rows)
        identity = uuid.uuid4().hex
        answer = Answer(outputs, batch.rows, model.version, signature.name, identity)
        if self._predictions and not asked.is_probe:
            self._predictions.add(_answered(asked.model, batch, answer, began))
        return answer

    def _model(self, asked: Asked) -> Model:
        if asked.label is not None:
            raise _unknown_label(asked.label)
        return self.versions.current(asked.model, asked.version)

    def _log_counts(self) -> tuple[int, int]:
        return (
            (self._predictions.written, self._predictions.dropped) if self._predictions else (0, 0)
        )


def _signature(model: Model, name: str, verb: str) -> Signature:
    name = name or signatures.DEFAULT
    found = model.signatures.get(name)
    if found is None:
        raise bad_request(f'Serving signature name: "{name}" not found in signature def')
    if verb != "predict" and list(found.inputs) != ["inputs"]:
        raise bad_request(f"Expected {verb} signature, with the one input `inputs`: {name}")
    return found


def _fed(signature: Signature, examples: Sequence[bytes]) -> Batch:
    return Batch({"inputs": np.array(examples, dtype=object)}, len(examples))


def _answered(model: str, batch: Batch, answer: Answer, began: float) -> Answered:
    return Answered(
        model=model,
        version=answer.version,
        id=answer.id,
        time=clock.text(clock.now()),
        rows=batch.rows,
        arrays=batch.arrays,
        outputs=answer.outputs,
        latency_ms=(time.perf_counter() - began) * 1000,
    )


def _unknown_label(label: str) -> Failure:
    return bad_request(f"Unrecognized servable version label: {label}")
