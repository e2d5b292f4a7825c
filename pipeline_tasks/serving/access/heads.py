"""What is made of a request's head."""

from __future__ import annotations

from collections.abc import Mapping

import httptools

from pipeline_tasks.serving.access.roles import Refusal

MAXIMUM_BYTES = 32 * 2**10


def path_of(target: bytes) -> str:
    """Without the query; empty where there is none."""
    try:
        return (httptools.parse_url(target).path or b"").decode("latin-1")
    except httptools.HttpParserInvalidURLError:
        return ""


def without_offer(method: str, target: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    """The head of the same request without its offer to go on in another protocol."""
    kept = {name: headers[name] for name in headers if name != b"upgrade"}
    kept[b"connection"] = b"close" if b"close" in kept[b"connection"].lower() else b"keep-alive"
    lines = [name + b": " + value for name, value in kept.items()]
    first = method.encode() + b" " + target + b" HTTP/1.1"
    return b"\r\n".join([first, *lines, b"", b""])


def too_large() -> Refusal:
    """431."""
    message = f"the request's head is larger than {MAXIMUM_BYTES // 2**10} KiB"
    return Refusal(431, message, closes=True)
