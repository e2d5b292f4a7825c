"""JSON to tensors and back, as strict as TensorFlow Serving's REST contract."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pipeline_tasks.serving.failures import Failure, bad_request

Array = NDArray[Any]
MAXIMUM_RANK = 32


@dataclass(frozen=True)
class Input:
    """One named input: its element type, and its shape with None where any size goes."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Batch:
    """What a request sent: one array an input, the row as first axis."""

    arrays: Mapping[str, Array]
    rows: int


@dataclass(frozen=True)
class Request:
    """A predict request's JSON: the signature it names, and its values as they came."""

    signature: str
    values: Any
    is_by_row: bool


def parse(body: bytes) -> Any:
    """The first JSON document of a body. Raises a Failure with status 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _parse_leniently(body, error)


def _parse_leniently(body: bytes, first: orjson.JSONDecodeError) -> Any:
    """NaN, Infinity and what follows the first document are allowed by the contract."""
    try:
        text = body.decode().lstrip()
        if not text:
            raise bad_request("JSON Parse error: The document is empty")
        return json.JSONDecoder().raw_decode(text)[0]
    except json.JSONDecodeError as error:
        message = f"JSON Parse error: Invalid value. at offset: {error.pos}"
        raise bad_request(message) from error
    except (UnicodeDecodeError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "nested too deeply"
        raise bad_request(
            f"JSON Parse error: Invalid value, {reason}. at offset: {first.pos}"
        ) from (error)
    except ValueError as error:
        raise bad_request(f"JSON Parse error: Invalid value. {error}") from error


def request(body: bytes) -> Request:
    """A predict request's JSON. Raises a Failure with status 400."""
    document = parse(body)
    if not isinstance(document, dict):
        raise bad_request("JSON Parse error: Is not object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise bad_request("'signature_name' key must be a string value.")
    if "instances" in document and "inputs" in document:
        raise bad_request("Request has both 'inputs' and 'instances' keys; give one of them.")
    if "instances" in document:
        return Request(signature, document["instances"], is_by_row=True)
    if "inputs" in document:
        return Request(signature, document["inputs"], is_by_row=False)
    raise bad_request("Missing 'inputs' or 'instances' key")


def decode(request: Request, inputs: Mapping[str, Input]) -> Batch:
    """The tensors of a predict request. Raises a Failure with status 400."""
    find = _by_row if request.is_by_row else _by_column
    return find(request.values, inputs)


def encode(outputs: Mapping[str, Array], *, is_by_row: bool) -> bytes:
    """The reply's body: `predictions` by row, or `outputs` by column."""
    columns = {name: _plain(name, values) for name, values in outputs.items()}
    only = next(iter(columns.values())) if len(columns) == 1 else None
    content: Any
    if not is_by_row:
        content = {"outputs": columns if only is None else only}
    elif only is not None:
        content = {"predictions": only}
    else:
        names = list(columns)
        content = {
            "predictions": [
                dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
        }
    if all(values.dtype.kind != "f" or np.isfinite(values).all() for values in outputs.values()):
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(content, default=_to_list, separators=(",", ":")).encode()


def _by_row(instances: Any, inputs: Mapping[str, Input]) -> Batch:
    if not isinstance(instances, list) or not instances:
        raise bad_request("'instances' must be a list with at least one row")
    if _is_named(instances[0], inputs):
        for instance in instances:
            _check_names(instance, inputs, "instances")
        columns = {name: [instance[name] for instance in instances] for name in inputs}
    elif len(inputs) == 1:
        columns = {next(iter(inputs)): instances}
    else:
        _check_names(instances[0], inputs, "instances")
    arrays = {name: _array(name, values, inputs[name]) for name, values in columns.items()}
    return Batch(arrays, len(instances))


def _by_column(values: Any, inputs: Mapping[str, Input]) -> Batch:
    if _is_named(values, inputs) or len(inputs) > 1:
        _check_names(values, inputs, "inputs")
        columns = values
    else:
        columns = {next(iter(inputs)): values}
    arrays = {name: _array(name, columns[name], spec) for name, spec in inputs.items()}
    sizes = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    rows = next(iter(sizes.values()))
    if rows == 0 or set(sizes.values()) != {rows}:
        raise bad_request(f"'inputs' must have the same number of rows, at least one: {sizes}")
    return Batch(arrays, rows)


def _is_named(value: Any, inputs: Mapping[str, Input]) -> bool:
    return isinstance(value, dict) and (len(inputs) > 1 or set(value) != {"b64"})


def _check_names(given: Any, inputs: Mapping[str, Input], where: str) -> None:
    if not isinstance(given, dict):
        raise bad_request(f"'{where}' must be an object that names the inputs {sorted(inputs)}")
    if set(given) == set(inputs):
        return
    missing, extra = sorted(set(inputs) - set(given)), sorted(set(given) - set(inputs))
    if len(given) == len(inputs):
        raise bad_request(f"Missing named input: {missing[0]} in '{where}' object.")
    raise bad_request(
        f"input size does not match signature: {len(given)}!={len(inputs)} "
        f"len({sorted(given)}) != len({sorted(inputs)}). "
        f"Sent extra: {extra}. Missing but required: {missing}."
    )


def _array(name: str, values: Any, spec: Input) -> Array:
    flat, shape = _flatten(values)
    _check_shape(name, shape, spec)
    return _elements(flat, spec.dtype).reshape(shape)


def _flatten(values: Any) -> tuple[list[Any], tuple[int, ...]]:
    """All elements in order, and the shape; refuses ragged lists."""
    flat: list[Any] = [values]
    shape: list[int] = []
    while flat and isinstance(flat[0], list):
        size = len(flat[0])
        for part in flat:
            if not isinstance(part, list):
                raise bad_request("Encountered a value where a list was expected")
            if len(part) != size:
                raise bad_request(
                    "Encountered list at unexpected size: "
                    f"Expecting tensor size: {size} but got: {len(part)}"
                )
        shape.append(size)
        if len(shape) > MAXIMUM_RANK:
            raise bad_request(f"lists are nested more than {MAXIMUM_RANK} deep")
        flat = list(chain.from_iterable(flat))
    return flat, tuple(shape)


def _check_shape(name: str, shape: tuple[int, ...], spec: Input) -> None:
    fits = len(shape) == len(spec.shape) and all(
        wanted is None or wanted == size for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        wanted = [-1 if size is None else size for size in spec.shape]
        raise bad_request(
            f"input {name}: Encountered list at unexpected size: "
            f"Expecting tensor size: {wanted} but got: {list(shape)}"
        )


def _elements(flat: list[Any], dtype: np.dtype[Any]) -> Array:
    kinds = set(map(type, flat))
    if dtype.kind == "f":
        _check_kinds(flat, kinds, {int, float}, "float")
    elif dtype.kind in "iu":
        _check_kinds(flat, kinds, {int}, dtype.name)
        limits = np.iinfo(dtype)
        if flat and (min(flat) < limits.min or max(flat) > limits.max):
            raise bad_request(f"JSON Value: out of range for {dtype.name}")
    elif dtype.kind == "b":
        _check_kinds(flat, kinds, {bool}, "bool")
    else:
        return np.array([_text(value) for value in flat], dtype=object)
    try:
        return np.array(flat, dtype=dtype)
    except OverflowError as error:
        raise bad_request(f"JSON Value: out of range for {dtype.name}") from error


def _check_kinds(flat: list[Any], kinds: set[type], allowed: set[type], wanted: str) -> None:
    if kinds <= allowed:
        return
    wrong = next(value for value in flat if type(value) not in allowed)
    raise bad_request(f"JSON Value: {json.dumps(wrong)[:100]} not of expected type: {wanted}")


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise bad_request("Unable to base64 decode") from error
    raise bad_request(f"JSON Value: {json.dumps(value)[:100]} not of expected type: string")


def _plain(name: str, values: Array) -> Array | list[Any]:
    """Values as they go into JSON: numbers as they are, bytes as text or, for *_bytes, as b64."""
    if values.dtype.kind not in "OSU":
        return np.ascontiguousarray(values)
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in values.tolist()]
    return [_decoded(value) for value in values.tolist()]


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise Failure(500, "a string output is not UTF-8; name it *_bytes") from error


def _to_list(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value))


def concatenate(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Several requests' rows as one batch."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
