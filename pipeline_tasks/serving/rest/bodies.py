"""A request's body, whole and unpacked, and never larger than a bound."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pipeline_tasks.serving.rest.failures import Failure, bad_request

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAXIMUM_BYTES = 64 * 2**20


async def read(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The body of one request. Raises a Failure: 400, 413, or 499 when the client went away."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAXIMUM_BYTES:
        raise too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect" or message.get("more_body", False):
        body = await _rest(message, receive)
    if headers.get(b"content-encoding") != b"gzip":
        return body
    # In a thread: a small body can unpack to a large one, and nobody else should wait for it.
    return await asyncio.to_thread(_unzipped, body)


def too_large() -> Failure:
    """413."""
    return Failure(413, f"the body is larger than {MAXIMUM_BYTES // 2**20} MiB")


async def _rest(message: MutableMapping[str, Any], receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while message["type"] != "http.disconnect":
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAXIMUM_BYTES:
            raise too_large()
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
    raise Failure(499, "the client went away")


def _unzipped(body: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        content = unzip.decompress(body, MAXIMUM_BYTES + 1)
    except zlib.error as error:
        raise bad_request("the body is not gzip, as its content-encoding says") from error
    if len(content) > MAXIMUM_BYTES:
        raise too_large()
    return content
