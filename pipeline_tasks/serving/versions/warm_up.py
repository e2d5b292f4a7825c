"""The requests that a version answers before it gets traffic, read without TensorFlow.

`tf_serving_warmup_requests` is a TFRecord file of PredictionLog messages. The manifest's digests
have been checked by then, so the records' own checksums are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.serving import messages
from pipeline_tasks.serving.rest.codec import Array

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAXIMUM_REQUESTS = 1000
LENGTH_AND_CHECKSUM, CHECKSUM = 12, 4
# The fields that are read, of TensorFlow's and TensorFlow Serving's messages of the same names.
MESSAGES: messages.Fields = {
    "PredictionLog": {"predict_log": (6, "PredictLog")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "*InputsEntry")},
    "ModelSpec": {"signature_name": (3, "string")},
    "InputsEntry": {"key": (1, "string"), "value": (2, "TensorProto")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "double_val": (6, "*double"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
    },
    "TensorShapeProto": {"dim": (2, "*Dim")},
    "Dim": {"size": (1, "int64")},
}
# TensorFlow's number of an element type, NumPy's name of it, and the field its values are in.
DTYPES = {1: ("float32", "float_val"), 2: ("float64", "double_val"), 3: ("int32", "int_val")}
DTYPES |= {4: ("uint8", "int_val"), 5: ("int16", "int_val"), 6: ("int8", "int_val")}
DTYPES |= {7: ("object", "string_val"), 9: ("int64", "int64_val"), 10: ("bool", "bool_val")}


@dataclass(frozen=True)
class Request:
    """One predict request; an empty signature is the default one."""

    signature: str
    arrays: dict[str, Array]


def requests(folder: Path) -> Iterator[Request]:
    """The warm-up requests of an exported folder. Raises ArtifactError when one cannot be read."""
    path = folder / FILE
    content = path.read_bytes() if path.is_file() else b""
    for number, record in enumerate(_records(content, path), start=1):
        if number > MAXIMUM_REQUESTS:
            raise ArtifactError(f"{path} holds more than {MAXIMUM_REQUESTS} requests")
        try:
            log = messages.read("PredictionLog", MESSAGES, record)
            if not log.HasField("predict_log"):
                raise ValueError("it holds no predict request")
            asked = log.predict_log.request
            arrays = {one.key: _array(one.value) for one in asked.inputs}
        except (DecodeError, ValueError) as error:
            raise _broken(path, f"record {number} cannot be read: {error}") from None
        yield Request(asked.model_spec.signature_name, arrays)


def _records(content: bytes, path: Path) -> Iterator[bytes]:
    place = 0
    while place < len(content):
        start = place + LENGTH_AND_CHECKSUM
        header = content[place:start]
        size = struct.unpack("<Q", header[:8])[0] if len(header) == LENGTH_AND_CHECKSUM else -1
        place = start + size + CHECKSUM
        if size < 0 or place > len(content):
            raise _broken(path, f"a record at byte {start - LENGTH_AND_CHECKSUM} is cut off")
        yield content[start : start + size]


def _array(tensor: Any) -> Array:
    if tensor.dtype not in DTYPES:
        raise ValueError(f"a tensor of type {tensor.dtype} is not read")
    dtype, name = DTYPES[tensor.dtype]
    shape = tuple(one.size for one in tensor.tensor_shape.dim)
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype=dtype).reshape(shape)
    values: Array = np.array(list(getattr(tensor, name)), dtype=dtype)
    missing = int(np.prod(shape)) - len(values)
    # The last value stands for all that follow it.
    filled = np.concatenate([values, values[-1:].repeat(missing)]) if missing > 0 else values
    return filled.reshape(shape)


def _broken(path: Path, problem: str) -> ArtifactError:
    return ArtifactError(
        f"{path}: {problem}",
        expected="a TFRecord file of PredictionLog messages with predict requests",
        fix="export the model again",
    )
