"""TensorProto to arrays and back, as strict about types and shapes as the signature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline_tasks.serving.grpc_server.protos import DataType, TensorProto
from pipeline_tasks.serving.rest.codec import NAMES, Array, Batch, Input, rows_of
from pipeline_tasks.serving.rest.failures import Failure, bad_request
from pipeline_tasks.serving.versions.signatures import Signature

STRING = "DT_STRING"
# By the name of numpy's type: TensorFlow's name, and the field its values are in.
FIELDS = {
    "float32": ("DT_FLOAT", "float_val"),
    "float64": ("DT_DOUBLE", "double_val"),
    "int8": ("DT_INT8", "int_val"),
    "int16": ("DT_INT16", "int_val"),
    "int32": ("DT_INT32", "int_val"),
    "int64": ("DT_INT64", "int64_val"),
    "uint8": ("DT_UINT8", "int_val"),
    "uint16": ("DT_UINT16", "int_val"),
    "uint32": ("DT_UINT32", "uint32_val"),
    "uint64": ("DT_UINT64", "uint64_val"),
    "bool": ("DT_BOOL", "bool_val"),
    "float16": ("DT_HALF", "half_val"),
    "object": (STRING, "string_val"),
}
BY_NUMBER = {DataType.Value(of): name for name, (of, _) in FIELDS.items()}
MAXIMUM_BYTES = 64 * 2**20  # of one tensor: a few bytes can declare terabytes


def batch(tensors: Mapping[str, Any], signature: Signature) -> Batch:
    """The arrays of a predict request. Raises a Failure with status 400."""
    arrays = {}
    for name, tensor in tensors.items():
        arrays[name] = array(name, tensor)
        if name in signature.inputs:
            _check(name, arrays[name], signature.inputs[name])
    return Batch(arrays, rows_of(arrays) if signature.is_batched and arrays else 1)


def array(name: str, tensor: Any) -> Array:
    """One tensor's values. Raises a Failure with status 400."""
    kind = BY_NUMBER.get(tensor.dtype)
    if kind is None:
        known = DataType.Name(tensor.dtype) if tensor.dtype in DataType.values() else tensor.dtype
        raise bad_request(f"input {name}: tensors of type {known} are not taken")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    dtype = np.dtype(kind)
    size = math.prod(shape)
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise bad_request(f"input {name}: the shape {list(shape)} is not fully known")
    if size * dtype.itemsize > MAXIMUM_BYTES:
        raise bad_request(f"input {name}: the shape {list(shape)} is too large")
    if tensor.tensor_content:
        return _from_content(name, tensor.tensor_content, dtype, shape)
    return _from_values(name, getattr(tensor, FIELDS[kind][1]), dtype, shape)


def _from_content(name: str, content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if dtype.kind == "O" or len(content) != math.prod(shape) * dtype.itemsize:
        raise bad_request(
            f"input {name}: {len(content)} bytes are no {dtype.name} of shape {list(shape)}"
        )
    return np.frombuffer(content, dtype).reshape(shape)


def _from_values(name: str, values: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The values; where there are fewer than the shape needs, the last one is repeated."""
    size = math.prod(shape)
    if len(values) > size or (size and not len(values)):
        raise bad_request(f"input {name}: {len(values)} values do not fill {list(shape)}")
    if dtype.name == "float16":
        found: Array = np.array(values, np.uint16).view(np.float16)
    else:
        try:
            found = np.array(values, dtype)
        except (OverflowError, ValueError) as error:
            raise bad_request(f"input {name}: {error}") from None
    if len(values) < size:
        found = np.concatenate([found, np.repeat(found[-1:], size - len(values))])
    return found.reshape(shape)


def _check(name: str, found: Array, wanted: Input) -> None:
    if found.dtype != wanted.dtype:
        given, needed = (NAMES.get(one.name, one.name) for one in (found.dtype, wanted.dtype))
        raise bad_request(f"input {name}: Expects {needed} but {given} is provided")
    if wanted.shape is None:
        return
    fits = found.ndim == len(wanted.shape) and all(
        one is None or one == size for size, one in zip(found.shape, wanted.shape, strict=True)
    )
    if not fits:
        sizes = [-1 if size is None else size for size in wanted.shape]
        raise bad_request(
            f"input {name}: Expecting tensor size: {sizes} but got: {list(found.shape)}"
        )


def proto(values: Array) -> Any:
    """One output, its values in the field of their type, as TensorFlow Serving writes them."""
    kind = "object" if values.dtype.kind in "OSU" else values.dtype.name
    if kind not in FIELDS:
        raise Failure(501, f"outputs of type {kind} are not given")
    number, field = FIELDS[kind]
    tensor = TensorProto(dtype=DataType.Value(number))
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    flat = values.reshape(-1)
    if kind == "float16":
        flat = flat.view(np.uint16)
    plain = flat.tolist()
    if kind == "object":
        plain = [one if isinstance(one, bytes) else str(one).encode() for one in plain]
    getattr(tensor, field).extend(plain)
    return tensor
