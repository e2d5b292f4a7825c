"""What every request passes before the application sees it, and what is written about it."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from pipeline_tasks.serving.access import roles
from pipeline_tasks.serving.access.roles import OPEN_PATHS, Refusal
from pipeline_tasks.serving.metrics import SLOW
from pipeline_tasks.serving.tokens import Tokens

log = logging.getLogger("pipeline_tasks.serving.access")

CLOSE = ((b"connection", b"close"),)
REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
SLOW_SECONDS = 1.0
LINES_A_SECOND = 20
TOLD = {
    "connections": "there are {} connections already",
    "requests": "{} requests are waiting already",
    "bytes": "{} bytes of requests are waiting already",
}


@dataclass(frozen=True)
class Limits:
    """How much a server takes on, and how long it waits for others."""

    requests: int = 2048  # that have arrived and are not answered yet
    connections: int = 16_384
    held_bytes: int = 512 * 2**20  # of the requests that arrive or wait
    head_seconds: float = 10.0  # for a request's head to arrive
    request_seconds: float = 30.0  # for all of it to arrive; and then to be answered


class Gate:
    """The application behind access control, limits and the access log.

    refused: counts, by reason, what is more or slower than the limits allow.
    """

    def __init__(self, app: Any, *, limits: Limits, tokens: Tokens, refused: Counter[str]) -> None:
        self._app, self._tokens, self._refused = app, tokens, refused
        self.limits = limits
        self.held_bytes = 0
        self._second, self._lines = 0, 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """The application, noted."""
        if scope["type"] == "http":
            await self.noting(self._app)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def refusal(self, method: str, path: bytes, authorization: str) -> Refusal | None:
        """Why who asks may not; None when they may."""
        if not self._tokens:
            return None
        return roles.refusal(
            self._tokens, roles.role_for(method, path.decode("latin-1")), authorization
        )

    def overloaded(self, what: str, number: int) -> Refusal:
        """Come back later."""
        self._refused[what] += 1
        message = f"{TOLD[what].format(number)}; try again soon"
        return Refusal(503, message, ((b"retry-after", b"1"), *CLOSE))

    def too_slow(self, message: str) -> Refusal:
        """Whoever is cut off may not be there to read it."""
        self._refused[SLOW] += 1
        return Refusal(408, message, CLOSE)

    def noting(self, app: Any) -> Any:
        """`app`, with a line in the log for what fails or is slow."""

        async def noted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            began = time.perf_counter()
            status = 500
            headers: list[tuple[bytes, bytes]] = []

            async def note(message: MutableMapping[str, Any]) -> None:
                nonlocal status, headers
                if message["type"] == "http.response.start":
                    status, headers = message["status"], message["headers"]
                await send(message)

            await app(scope, receive, note)
            seconds = time.perf_counter() - began
            if (status >= 400 or seconds > SLOW_SECONDS) and scope["path"] not in OPEN_PATHS:
                named = (v for n, v in headers if n == b"perennial-prediction-id")
                self.note(scope, status, seconds, next(named, b""))

        return noted

    def note(
        self,
        scope: MutableMapping[str, Any] | None,
        status: int,
        seconds: float,
        identity: bytes = b"",
    ) -> None:
        """One line, and not too many in a second; without query, headers and body."""
        second = int(time.monotonic())
        if second != self._second:
            if self._lines > LINES_A_SECOND:
                log.warning("%s more lines like these", self._lines - LINES_A_SECOND)
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > LINES_A_SECOND:
            return
        what = f"{scope['method']} {scope['path'][:200]}" if scope else "no request"
        extra: dict[str, object] = {"status": status, "milliseconds": round(seconds * 1000, 1)}
        request = identity or (_request_id(scope["headers"]) if scope else b"")
        if request:
            extra["request_id"] = request.decode()
        if scope and scope["path"].startswith("/v1/models/"):
            extra["model"] = re.split("[:/]", scope["path"][11:139])[0]
        level = logging.ERROR if status >= 500 and status != 503 else logging.WARNING
        log.log(level, "%s: %s", what, status, extra=extra)


def _request_id(headers: list[tuple[bytes, bytes]]) -> bytes:
    found = next((value for name, value in headers if name == b"x-request-id"), b"")
    return found if REQUEST_ID.fullmatch(found) else b""
