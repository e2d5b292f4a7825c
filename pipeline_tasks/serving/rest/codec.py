"""JSON to tensors, as strict as TensorFlow Serving's REST contract and in its words."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline_tasks.serving.rest.failures import Failure, bad_request
from pipeline_tasks.serving.rest.parsing import (
    base64_of,
    document,
    is_base64,
    refuse_duplicates,
    shown,
)

Array = NDArray[Any]
MAXIMUM_RANK = 32


# By the kind of an element's type: what JSON may have for it.
KINDS: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
NAMES = {"float32": "float", "float64": "double", "object": "string"}


@dataclass(frozen=True)
class Input:
    """One named input: its element type, and its shape with None where any size goes."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None  # None: any rank

    @cached_property
    def allowed(self) -> set[type]:
        """The types that JSON's numbers may have; none for text, and for what JSON cannot say."""
        is_half = self.dtype.kind == "f" and self.dtype.itemsize == 2
        return set() if is_half else KINDS.get(self.dtype.kind, set())


class Batch(NamedTuple):
    """What a request sent: one array an input, the row as first axis."""

    arrays: Mapping[str, Array]
    rows: int


class Request(NamedTuple):
    """A predict request's JSON: the signature it names, and its values as they came."""

    signature: str
    values: Any
    is_by_row: bool
    members: int  # of the document itself
    body: bytes


def request(body: bytes) -> Request:
    """A predict request's JSON. Raises a Failure with status 400."""
    found = document(body)
    signature, members = found.get("signature_name", ""), len(found)
    if "instances" in found and "inputs" in found:
        raise bad_request(
            f"JSON Value: {shown(found)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist"
        )
    if "instances" in found:
        return Request(signature, found["instances"], True, members, body)
    if "inputs" in found:
        return Request(signature, found["inputs"], False, members, body)
    raise bad_request("Missing 'inputs' or 'instances' key")


def decode(request: Request, inputs: Mapping[str, Input]) -> Batch:
    """The tensors of a predict request. Raises a Failure with status 400."""
    find = _by_row if request.is_by_row else _by_column
    batch, keys = find(request.values, inputs)
    if request.body.count(b'":') != request.members + keys:
        refuse_duplicates(request.body)
    return batch


def _by_row(instances: Any, inputs: Mapping[str, Input]) -> tuple[Batch, int]:
    if not isinstance(instances, list):
        raise bad_request("JSON Value: Expecting 'instances' to be an list/array")
    if not instances:
        raise bad_request("JSON Value: No values in 'instances' array")
    rows = len(instances)
    if _is_object(instances[0]):
        columns = _columns(instances, inputs)
        keys = rows * len(inputs)
    elif len(inputs) > 1:
        raise bad_request(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    else:
        columns, keys = {next(iter(inputs)): instances}, 0
    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = _array(name, values, inputs[name])
        except Failure as failure:
            raise _at_element(name, values, inputs[name], keys, failure) from failure
    return Batch(arrays, rows), keys


def _columns(instances: list[Any], inputs: Mapping[str, Input]) -> dict[str, list[Any]]:
    if set(map(type, instances)) == {dict} and set(map(len, instances)) == {len(inputs)}:
        try:
            return {name: list(map(itemgetter(name), instances)) for name in inputs}
        except KeyError:
            pass
    for number, instance in enumerate(instances):
        if not _is_object(instance):
            raise bad_request(f"Expecting object but got list at item {number} of input list")
        for name in instance:
            if name not in inputs:
                raise bad_request(
                    f"Failed to process element: {number} key: {name} of 'instances' list. "
                    f"Error: INVALID_ARGUMENT: JSON object: does not have named input: {name}"
                )
        if len(instance) != len(inputs):
            raise bad_request(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{shown(instance)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    raise AssertionError("unreachable: one of the instances differs")


def _at_element(name: str, values: list[Any], spec: Input, keys: int, failure: Failure) -> Failure:
    """The same failure, saying which row it is in."""
    first: tuple[int, ...] | None = None
    key = f" key: {name}" if keys else ""
    for number, value in enumerate(values):
        prefix = f"Failed to process element: {number}{key} of 'instances' list. Error: "
        if _is_object(value) and not keys:
            return bad_request(
                f"Expecting value/list but got object at item {number} of input list"
            )
        try:
            flat, shape = _flatten(value, spec)
            _elements(flat, spec)
        except Failure as own:
            return Failure(own.status, f"{prefix}{own.code}: {own.message}")
        if first is not None and shape != first:
            sizes = [int(np.prod(one)) for one in (first, shape)]
            what = (
                f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}"
                if sizes[0] != sizes[1]
                else f"Expecting shape {_shape(first)} but got: {_shape(shape)}"
            )
            return bad_request(f"{prefix}INVALID_ARGUMENT: {what}")
        first = shape
    return failure


def _by_column(values: Any, inputs: Mapping[str, Input]) -> tuple[Batch, int]:
    if _is_object(values):
        missing = next((name for name in inputs if name not in values), None)
        if missing is not None:
            raise bad_request(f"Missing named input: {missing} in 'inputs' object.")
        columns, keys = values, len(values)
    elif len(inputs) > 1:
        raise bad_request(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    else:
        columns, keys = {next(iter(inputs)): values}, 0
    arrays = {name: _array(name, columns[name], spec) for name, spec in inputs.items()}
    return Batch(arrays, rows_of(arrays)), keys


def rows_of(arrays: Mapping[str, Array]) -> int:
    """How many rows all the arrays have; 1 when they have no axis of rows."""
    sizes = {len(array) if array.ndim else 1 for array in arrays.values()}
    if len(sizes) != 1 or 0 in sizes:
        found = {name: list(array.shape) for name, array in arrays.items()}
        raise bad_request(f"inputs must have the same number of rows, at least one: {found}")
    return sizes.pop()


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _array(name: str, values: Any, spec: Input) -> Array:
    is_flat = type(values) is list and values and type(values[0]) is not list
    flat, shape = (values, (len(values),)) if is_flat else _flatten(values, spec)
    if spec.shape is not None and shape[1:] != spec.shape[1:]:
        _check_shape(name, shape, spec.shape)
    found = _elements(flat, spec)
    return found if is_flat else found.reshape(shape)


def _flatten(values: Any, spec: Input) -> tuple[list[Any], tuple[int, ...]]:
    """All elements in order, and the shape; refuses ragged lists."""
    flat: list[Any] = [values]
    shape: list[int] = []
    while flat and type(flat[0]) is list:
        # Text and an object have a size too, but no number in them.
        try:
            sizes = set(map(len, flat))
        except TypeError:
            sizes = set()
        if not sizes or (spec.dtype.kind == "O" and set(map(type, flat)) != {list}):
            wrong = next(value for value in flat if type(value) is not list)
            raise bad_request(
                f"JSON Value: {shown(wrong)} found at incorrect level: {len(shape) + 1} "
                "in the JSON DOM, where a list was expected."
            )
        size = len(flat[0])
        if len(sizes) != 1:
            other = next(len(part) for part in flat if len(part) != size)
            raise bad_request(
                f"Encountered list at unexpected size: {other} at level: {len(shape)} "
                f"expected size: {size}"
            )
        shape.append(size)
        if len(shape) > MAXIMUM_RANK:
            raise bad_request(f"lists are nested more than {MAXIMUM_RANK} deep")
        flat = list(chain.from_iterable(flat))
    return flat, tuple(shape)


def _check_shape(name: str, shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
    fits = len(shape) == len(wanted) and all(
        one is None or one == size for size, one in zip(shape, wanted, strict=True)
    )
    if not fits:
        sizes = tuple(-1 if size is None else size for size in wanted)
        raise bad_request(
            f"input {name}: Encountered list at unexpected size: "
            f"Expecting tensor size: {_shape(sizes)} but got: {_shape(shape)}"
        )


def _shape(sizes: Sequence[int]) -> str:
    return f"[{','.join(map(str, sizes))}]"


def _elements(flat: list[Any], spec: Input) -> Array:
    dtype = spec.dtype
    if dtype.kind == "O":
        return np.array([_text(value) for value in flat], dtype=object)
    if not spec.allowed:
        raise Failure(501, f"Conversion of JSON Value: {shown(flat)} to type: {dtype.name}")
    if not set(map(type, flat)) <= spec.allowed:
        raise _type_error(next(v for v in flat if type(v) not in spec.allowed), dtype)
    if dtype.kind == "b" or not flat:
        return np.array(flat, dtype=dtype)
    try:
        # Faster than numpy on a list, and it refuses integers that are out of range.
        return np.frombuffer(array(dtype.char, flat), dtype)
    except OverflowError:
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        wrong = next((v for v in flat if not limits.min <= v <= limits.max), flat[0])
        raise _type_error(wrong, dtype) from None


def _type_error(value: Any, dtype: np.dtype[Any]) -> Failure:
    kinds = {str: "String", bool: str(value).capitalize(), dict: "Object", type(None): "Null"}
    kind = kinds.get(type(value), "Array" if isinstance(value, list) else "Number")
    wanted = NAMES.get(dtype.name, dtype.name)
    return bad_request(f"JSON Value: {shown(value)} Type: {kind} is not of expected type: {wanted}")


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return base64_of(value)
    raise _type_error(value, np.dtype(object))


def concatenate(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Several requests' rows as one batch."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
