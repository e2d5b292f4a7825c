"""What a loaded version can be asked: its signatures, each one function over batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline_tasks.serving.codec import Array, Input
from pipeline_tasks.serving.histogram import MICROSECONDS, Histogram

DEFAULT = "serving_default"
PREDICT, CLASSIFY, REGRESS = (
    f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress")
)


@dataclass(frozen=True, eq=False)
class Signature:
    """One way to ask a version. `function` takes one array an input and gives one an output."""

    name: str
    inputs: Mapping[str, Input]
    function: Callable[[Mapping[str, Array]], dict[str, Array]] = field(repr=False)
    outputs: tuple[str, ...] = ()
    method: str = PREDICT
    is_batched: bool = True  # the first axis of every input and output is the row
    runtime: Histogram = field(default_factory=lambda: Histogram(MICROSECONDS), repr=False)
    waited: Histogram = field(default_factory=lambda: Histogram(MICROSECONDS), repr=False)

    def call(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs of one batch."""
        began = time.perf_counter()
        try:
            return self.function(arrays)
        finally:
            self.runtime.add((time.perf_counter() - began) * 1e6)
