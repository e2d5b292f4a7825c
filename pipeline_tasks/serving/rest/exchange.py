"""A request and its reply, whole, as whatever answers one sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

Headers = tuple[tuple[bytes, bytes], ...]

JSON: Headers = ((b"content-type", b"application/json"),)
TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)


class Request(NamedTuple):
    """What a client sent.

    path: as it was written, without its query. headers: by their names in lower case.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


class Reply(NamedTuple):
    """What it is told; the connection adds how long the body is. closes: and nothing after it."""

    status: int
    body: bytes
    headers: Headers = JSON
    closes: bool = False


class Answers(Protocol):
    """Whatever answers requests, on one event loop."""

    async def start(self) -> None:
        """Before the first request can come."""

    async def reply(self, request: Request) -> Reply:
        """The answer, whatever happens."""

    async def close(self) -> None:
        """After the last request is answered."""
