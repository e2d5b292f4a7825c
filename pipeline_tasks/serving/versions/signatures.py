"""What a loaded version can be asked: its signatures, each one function over batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from pipeline_tasks.serving.histogram import MICROSECONDS, Histogram
from pipeline_tasks.serving.rest.codec import Array, Input

DEFAULT = "serving_default"
PREDICT = "tensorflow/serving/predict"

Call = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True, eq=False)
class Signature:
    """One way to ask a version. `call` takes one array an input and gives one an output."""

    name: str
    inputs: Mapping[str, Input]
    call: Call = field(repr=False)
    outputs: Mapping[str, Input] = field(default_factory=dict)
    method: str = PREDICT
    runtime: Histogram = field(default_factory=lambda: Histogram(MICROSECONDS), repr=False)
    waited: Histogram = field(default_factory=lambda: Histogram(MICROSECONDS), repr=False)

    @cached_property
    def is_batched(self) -> bool:
        """The first axis of every input is the row, and no output is without axes."""
        return all(one.shape and one.shape[0] is None for one in self.inputs.values()) and not any(
            one.shape == () for one in self.outputs.values()
        )


def timed(signature: Signature) -> Signature:
    """The same signature, with the time of each call in its `runtime`."""
    call, runtime = signature.call, signature.runtime

    def measured(arrays: Mapping[str, Array]) -> dict[str, Array]:
        began = time.perf_counter()
        try:
            return call(arrays)
        finally:
            runtime.add((time.perf_counter() - began) * 1e6)

    return replace(signature, call=measured)
