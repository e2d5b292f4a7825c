"""The requests of classify and regress: JSON objects to serialized tf.Examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline_tasks.serving.rest.failures import bad_request
from pipeline_tasks.serving.rest.parsing import base64_of, is_base64, refuse_duplicates, shown

MAXIMUM_INT64 = 2**63


def serialized(document: dict[str, Any], body: bytes) -> list[bytes]:
    """One tf.Example for each of `examples`, the features of `context` in each of them.

    Raises a Failure with status 400.
    """
    refuse_duplicates(body)
    if "examples" not in document:
        raise bad_request(
            f"JSON Value: {shown(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise bad_request(
            f"JSON Value: {shown(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise bad_request(f"JSON Value: {shown(document)} 'examples' value is an empty array")
    context = _example(document["context"]) if "context" in document else b""
    # Two messages one after the other are one message; of a feature in both, the later counts.
    return [context + _example(example) for example in examples]


def _example(features: Any) -> bytes:
    from tensorflow.core.example import example_pb2

    if not isinstance(features, dict):
        raise bad_request(f"Example must be JSON object but got JSON: {shown(features)}")
    example = example_pb2.Example()
    for name, content in features.items():
        feature = example.features.feature[name]
        kind, values = _values(name, content if isinstance(content, list) else [content])
        if values:
            getattr(feature, kind).value.extend(values)
    written: bytes = example.SerializeToString(deterministic=True)
    return written


def _values(name: str, contents: list[Any]) -> tuple[str, list[Any]]:
    kinds, values = set(), []
    for kind, value in _typed(name, contents):
        kinds.add(kind)
        values.append(value)
    if len(kinds) > 1:
        first = _typed(name, contents[:1])
        wanted = next(first)[0].removesuffix("_list")
        raise bad_request(f"Unexpected element type in feature: {name} expecting type: {wanted}")
    return (kinds.pop() if kinds else ""), values


def _typed(name: str, contents: list[Any]) -> Iterator[tuple[str, Any]]:
    for content in contents:
        if isinstance(content, str):
            yield "bytes_list", content.encode()
        elif isinstance(content, dict) and is_base64(content):
            yield "bytes_list", base64_of(content)
        elif isinstance(content, float):
            yield "float_list", content
        elif isinstance(content, int):  # true and false too, as 1 and 0
            yield "int64_list", _int64(name, int(content))
        else:
            raise bad_request(
                f"Feature: {name} has element with unexpected JSON type: {shown(content)}"
            )


def _int64(name: str, value: int) -> int:
    if not -MAXIMUM_INT64 <= value < MAXIMUM_INT64:
        raise bad_request(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    return value
