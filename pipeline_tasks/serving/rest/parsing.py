"""JSON as TensorFlow Serving reads it: NaN and Infinity, and the first document of a body only."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import orjson

from pipeline_tasks.serving.rest.failures import bad_request

SHOWN_BYTES = 256
# What orjson says of more than 1,024 levels; Python's own parser may take more, by its version.
TOO_DEEP = "depth limit exceeded"


def document(body: bytes) -> dict[str, Any]:
    """The first JSON document of a body, an object. Raises a Failure with status 400."""
    found = parse(body)
    if not isinstance(found, dict):
        raise bad_request(f"JSON Value: {shown(found)} Is not object")
    if not isinstance(found.get("signature_name", ""), str):
        raise bad_request(
            f"JSON Value: {shown(found)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return found


def parse(body: bytes) -> Any:
    """The first JSON document of a body. Raises a Failure with status 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if TOO_DEEP in str(error):
            raise bad_request("JSON Parse error: Invalid value, nested too deeply.") from error
        return _parse_leniently(body, error)


def _parse_leniently(body: bytes, first: orjson.JSONDecodeError) -> Any:
    """NaN, Infinity and what follows the first document are allowed by the contract."""
    try:
        text = body.decode()
        start = len(text) - len(text.lstrip(" \t\r\n"))
        if start == len(text):
            raise bad_request("JSON Parse error: The document is empty. at offset: 0")
        return json.JSONDecoder(parse_float=_finite).raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        message = f"JSON Parse error: Invalid value. at offset: {error.pos}"
        raise bad_request(message) from error
    except (UnicodeDecodeError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "nested too deeply"
        raise bad_request(
            f"JSON Parse error: Invalid value, {reason}. at offset: {first.pos}"
        ) from error
    except ValueError as error:
        raise bad_request(f"JSON Parse error: Invalid value. {error}") from error


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"Number too big to be stored in double: {text[:40]}")
    return value


def refuse_duplicates(body: bytes) -> None:
    """Raises a Failure with status 400 when an object names a key twice."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        if len(names) != len(set(names)):
            twice = next(name for name in names if names.count(name) > 1)
            raise bad_request(f"JSON Parse error: the key {shown(twice)} is given twice")
        return dict(found)

    text = body.decode().lstrip()
    json.JSONDecoder(object_pairs_hook=pairs).raw_decode(text)


def is_base64(value: dict[str, Any]) -> bool:
    """It is a `{"b64": "..."}`."""
    return len(value) == 1 and isinstance(value.get("b64"), str)


def base64_of(value: dict[str, Any]) -> bytes:
    """The bytes of `{"b64": ...}`. Raises a Failure with status 400."""
    if not is_base64(value):
        raise bad_request(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request("Unable to base64 decode") from error


def shown(value: Any) -> str:
    """A JSON value for a message: its beginning, whatever it is."""
    try:
        return orjson.dumps(value)[:SHOWN_BYTES].decode(errors="ignore")
    except (orjson.JSONEncodeError, RecursionError):
        return f"({type(value).__name__})"
