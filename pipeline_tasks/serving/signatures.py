"""What a loaded version can be asked: its signatures, each one function over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline_tasks.serving.codec import Array, Input

DEFAULT = "serving_default"
PREDICT = "tensorflow/serving/predict"


@dataclass(frozen=True, eq=False)
class Signature:
    """One way to ask a version. `call` takes one array an input and gives one an output."""

    name: str
    inputs: Mapping[str, Input]
    call: Callable[[Mapping[str, Array]], dict[str, Array]] = field(repr=False)
    outputs: Mapping[str, Input] = field(default_factory=dict)
    method: str = PREDICT
