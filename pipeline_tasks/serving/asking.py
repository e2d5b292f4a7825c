"""One version asked by one of its signatures, within a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline_tasks.serving.observed.prediction_log import Answered
from pipeline_tasks.serving.rest.codec import Array, Batch
from pipeline_tasks.serving.rest.failures import Failure, bad_request, of
from pipeline_tasks.serving.versions import signatures
from pipeline_tasks.serving.versions.model import Model
from pipeline_tasks.serving.versions.signatures import Signature
from pipeline_tasks.serving.versions.slot import Slot

EXAMPLES = "inputs"
OUTPUTS = {"classify": ("classes", "scores"), "regress": ("outputs",)}


class Asked(NamedTuple):
    """Whom a request asks, and under which terms."""

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = ""  # empty: serving_default
    key: str = ""  # of a trial's share; empty: the prediction id
    request_id: str = ""  # the client's own name for it; kept with the prediction
    is_probe: bool = False  # answered, but neither logged nor part of a trial
    deadline: float | None = None  # of time.monotonic
    entrypoint: str = "REST"


class Answer(NamedTuple):
    """What a client gets: one array an output, and who answered."""

    outputs: Mapping[str, Array]
    rows: int
    version: int
    signature: Signature
    id: str  # row i has the prediction id `<id>-<i>`


def find(model: Model, name: str, verb: str) -> Signature:
    """The signature of that name that fits the verb. Raises a Failure with status 400."""
    name = name or signatures.DEFAULT
    found = model.signatures.get(name)
    if found is None:
        raise bad_request(f'Serving signature name: "{name}" not found in signature def')
    if verb == "predict":
        return found
    if len(found.inputs) != 1:
        raise bad_request("Expected one input Tensor.")
    if EXAMPLES not in found.inputs:
        raise bad_request(f"No {verb} inputs found in SignatureDef: {name}")
    if not set(OUTPUTS[verb]) & set(found.outputs):
        raise bad_request(
            f"Expected {verb} signature outputs to contain at least one of "
            f"{', '.join(OUTPUTS[verb])}. Signature was: {name} with {', '.join(found.outputs)}"
        )
    return found


def examples(serialized: Sequence[bytes]) -> Batch:
    """Serialized tf.Examples as a classify or regress signature takes them."""
    return Batch({EXAMPLES: np.array(serialized, dtype=object)}, len(serialized))


async def ask(slot: Slot, signature: Signature, batch: Batch, seconds: float) -> dict[str, Array]:
    """The outputs for a batch. Raises a Failure: the model's own, 503 when full, 504 when late."""
    if batch.arrays.keys() != signature.inputs.keys():
        raise _other_inputs(set(batch.arrays), set(signature.inputs))
    try:
        if signature.is_batched:
            deadline = time.monotonic() + seconds
            return await slot.batcher().ask(signature, batch.arrays, batch.rows, deadline)
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(signature.call, batch.arrays)
    except TimeoutError:
        raise Failure(504, f"no answer within {seconds:.3g} s") from None
    except Failure:
        raise
    except Exception as error:  # the model's own failure is the client's answer
        raise of(error) from error


def _other_inputs(given: set[str], wanted: set[str]) -> Failure:
    extra, missing = (",".join(sorted(one)) for one in (given - wanted, wanted - given))
    sent, expected = (",".join(sorted(one)) for one in (given, wanted))
    return bad_request(
        f"input size does not match signature: {len(given)}!={len(wanted)} "
        f"len({{{sent}}}) != len({{{expected}}}). "
        f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
    )


def record(
    asked: Asked, answer: Answer, batch: Batch, seconds: float, *, is_shadow: bool = False
) -> Answered:
    """The line of the prediction log for an answer."""
    return Answered(
        model=asked.model,
        version=answer.version,
        id=answer.id,
        at=time.time(),
        rows=batch.rows,
        arrays=batch.arrays,
        outputs=answer.outputs,
        latency_ms=seconds * 1000,
        is_shadow=is_shadow,
        route=asked.label or "",
        request_id=asked.request_id,
        caller=asked.key,
    )
