"""Tensors to JSON, as TensorFlow Serving writes them: NaN and Infinity bare, bytes as b64."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from pipeline_tasks.serving.rest.codec import Array
from pipeline_tasks.serving.rest.failures import Failure, bad_request

NOT_FINITE = b"null"  # as orjson writes NaN and the infinities


def predictions(outputs: Mapping[str, Array], *, is_by_row: bool) -> bytes:
    """The reply to a predict request: `predictions` by row, or `outputs` by column."""
    columns = {name: _plain(name, values) for name, values in outputs.items()}
    only = next(iter(columns.values())) if len(columns) == 1 else None
    if is_by_row:
        _check_rows(outputs)
    if not is_by_row:
        content = _json({"outputs": columns if only is None else only})
    elif only is not None:
        content = _json({"predictions": only})
    else:
        rows = zip(*columns.values(), strict=True)
        content = _json({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})
    if NOT_FINITE in content and not are_finite(outputs):
        return _with_tokens(columns, is_by_row=is_by_row)
    return content


def classifications(outputs: Mapping[str, Array], rows: int) -> bytes:
    """The reply to a classify request: pairs of label and score for each example."""
    labels, numbers = labels_and_scores(outputs, rows)
    pairs = [
        b",".join(
            b"[" + _json(label) + b"," + _written(number) + b"]"
            for label, number in zip(*row, strict=True)
        )
        for row in zip(labels, numbers, strict=True)
    ]
    return b'{"results":[' + b",".join(b"[" + row + b"]" for row in pairs) + b"]}"


def labels_and_scores(outputs: Mapping[str, Array], rows: int) -> tuple[list[list[str]], Array]:
    """What a classify signature says of each example; empty labels, or zeros, if it says none."""
    classes, scores = outputs.get("classes"), outputs.get("scores")
    for name, values in (("classes", classes), ("scores", scores)):
        if values is not None and (values.ndim != 2 or len(values) != rows):
            raise bad_request(
                f"Expected {name} output of shape [{rows},num_classes] but got {list(values.shape)}"
            )
    found = classes if classes is not None else scores
    if found is None or (scores is not None and found.shape != scores.shape):
        raise bad_request("Tensors class and score should match in dim_size(1).")
    labels = _plain("classes", classes) if classes is not None else [[""] * found.shape[1]] * rows
    return labels, scores if scores is not None else np.zeros(found.shape, np.float32)


def regressions(outputs: Mapping[str, Array], rows: int) -> bytes:
    """The reply to a regress request: one number for each example."""
    return b'{"results":' + _written(numbers(outputs, rows)) + b"}"


def numbers(outputs: Mapping[str, Array], rows: int) -> Array:
    """What a regress signature says of each example."""
    values = outputs["outputs"]
    if values.shape not in ((rows,), (rows, 1)):
        raise bad_request(
            f"Expected output Tensor shape to be either [{rows}] or [{rows}, 1]. "
            f"Got: {list(values.shape)}"
        )
    return values.reshape(-1)


def are_finite(outputs: Mapping[str, Array]) -> bool:
    """No output has a NaN or an infinity."""
    return all(
        values.dtype.kind != "f" or bool(np.isfinite(values).all()) for values in outputs.values()
    )


def _check_rows(outputs: Mapping[str, Array]) -> None:
    first = next(iter(outputs.values())).shape[:1]
    if not first or any(values.shape[:1] != first for values in outputs.values()):
        sizes = {name: list(values.shape) for name, values in outputs.items()}
        raise bad_request(f"Tensors have inconsistent batch sizes: {sizes}; ask with 'inputs'.")


def _with_tokens(columns: Mapping[str, Any], *, is_by_row: bool) -> bytes:
    """The same, with NaN, Infinity and -Infinity where orjson writes null."""
    if not is_by_row:
        written = {name: _written(values) for name, values in columns.items()}
        return b'{"outputs":' + _object(written) + b"}"
    rows = zip(*columns.values(), strict=True)
    found = [_object({n: _written(v) for n, v in zip(columns, row, strict=True)}) for row in rows]
    return b'{"predictions":[' + b",".join(found) + b"]}"


def _object(written: Mapping[str, bytes]) -> bytes:
    if len(written) == 1:
        return next(iter(written.values()))
    members = [json.dumps(name).encode() + b":" + value for name, value in written.items()]
    return b"{" + b",".join(members) + b"}"


def _written(values: Any) -> bytes:
    content = _json(values)
    if isinstance(values, np.ndarray | np.generic) and values.dtype.kind == "f":
        return _filled(content, np.asarray(values))
    return content


def _filled(content: bytes, values: Array) -> bytes:
    """Each null replaced by the token of the value that is not finite, in their order."""
    parts = content.split(NOT_FINITE)
    wrong = values[~np.isfinite(values)].tolist()
    tokens = [json.dumps(value).encode() for value in wrong]
    return parts[0] + b"".join(t + part for t, part in zip(tokens, parts[1:], strict=True))


def _json(content: Any) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(name: str, values: Array) -> Any:
    """Values as they go into JSON: numbers as they are, bytes as text or, for *_bytes, as b64."""
    kind = values.dtype.kind
    if kind in "OSU":
        return _strings(values.tolist(), is_binary=name.endswith("_bytes"))
    if kind not in "fiub":
        raise Failure(501, f"Failed to write JSON value for tensor type: {values.dtype.name}")
    if values.dtype.itemsize == 2 and kind == "f":
        values = values.astype(np.float32)
    return np.ascontiguousarray(values) if values.ndim else values[()]


def _strings(value: Any, *, is_binary: bool) -> Any:
    if isinstance(value, list):
        return [_strings(part, is_binary=is_binary) for part in value]
    content = value if isinstance(value, bytes) else str(value).encode()
    if is_binary:
        return {"b64": base64.b64encode(content).decode()}
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Failure(500, "a string output is not UTF-8; name it *_bytes") from error
