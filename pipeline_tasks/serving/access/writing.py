"""Replies as HTTP/1.1 has them."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from pipeline_tasks.serving.rest.exchange import Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PHRASES = {one.value: one.phrase for one in HTTPStatus} | {499: "Client Closed Request"}
STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in PHRASES.items()
}


def written(
    reply: Reply, more: Iterable[tuple[bytes, bytes]], *, is_last: bool, has_body: bool
) -> bytes:
    """Head and body in one piece. more: the headers that every reply has."""
    parts = [STATUS_LINES[reply.status]]
    for name, value in more:
        parts += (name, b": ", value, b"\r\n")
    for name, value in reply.headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"content-length: %d\r\n" % len(reply.body))
    parts.append(b"connection: close\r\n\r\n" if is_last else b"\r\n")
    if has_body:
        parts.append(reply.body)
    return b"".join(parts)
