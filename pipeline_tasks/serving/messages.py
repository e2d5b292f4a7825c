"""Protocol buffers read without TensorFlow: the fields that are named, the others skipped."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# By message and field: its number, and its type, which may be a message; * where it is repeated.
Fields = dict[str, dict[str, tuple[int, str]]]
TYPES = descriptor_pb2.FieldDescriptorProto
PACKAGE = "perennial"

_classes: dict[int, dict[str, Any]] = {}


def read(name: str, fields: Fields, content: bytes) -> Any:
    """The message `name` of `fields` in `content`. Raises DecodeError when it is none.

    `fields` is a constant of its module; its classes are made once.
    """
    if id(fields) not in _classes:
        _classes[id(fields)] = _made(fields)
    return _classes[id(fields)][name].FromString(content)


def _made(fields: Fields) -> dict[str, Any]:
    """Message classes in a pool of their own, beside TensorFlow's if it is loaded."""
    file = descriptor_pb2.FileDescriptorProto(name="read.proto", package=PACKAGE, syntax="proto3")
    for message, described in fields.items():
        made = file.message_type.add(name=message)
        for field, (number, kind) in described.items():
            one = made.field.add(name=field, number=number)
            one.label = TYPES.LABEL_REPEATED if kind[0] == "*" else TYPES.LABEL_OPTIONAL
            of = kind.lstrip("*")
            if of in fields:
                one.type, one.type_name = TYPES.TYPE_MESSAGE, f".{PACKAGE}.{of}"
            else:
                one.type = getattr(TYPES, f"TYPE_{of.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in fields
    }
