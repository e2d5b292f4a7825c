"""A request's body, unpacked, and never larger than a bound."""

from __future__ import annotations

import asyncio
import zlib

from pipeline_tasks.serving.rest.exchange import Request
from pipeline_tasks.serving.rest.failures import Failure, bad_request

MAXIMUM_BYTES = 64 * 2**20
MAGIC = b"\x1f\x8b"


async def unpacked(request: Request) -> bytes:
    """The body as it was before it was packed. Raises a Failure: 400 or 413."""
    # In a thread: a small body can unpack to a large one, and nobody else is to wait for it.
    return await asyncio.to_thread(_unzipped, request.body)


def is_packed(request: Request) -> bool:
    """It says that its body is gzip."""
    return request.headers.get(b"content-encoding") == b"gzip"


def claimed_bytes(packed: bytes) -> int:
    """What gzip says in its last four bytes that it unpacks to; it is held to that."""
    return int.from_bytes(packed[-4:], "little")


def too_large() -> Failure:
    """413."""
    return Failure(413, f"the body is larger than {MAXIMUM_BYTES // 2**20} MiB")


def _unzipped(body: bytes) -> bytes:
    if body[:2] != MAGIC:
        raise _not_gzip()
    size = claimed_bytes(body)
    if size > MAXIMUM_BYTES:
        raise too_large()
    unzip = zlib.decompressobj(wbits=31)
    try:
        content = unzip.decompress(body, size + 1)
    except zlib.error as error:
        raise _not_gzip() from error
    if not unzip.eof or unzip.unused_data:
        raise _not_gzip()
    return content


def _not_gzip() -> Failure:
    return bad_request("the body is not gzip, as its content-encoding says: one whole file of it")
