"""What every request passes before the application sees it, and what is written about it."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import unquote

from pipeline_tasks.serving.access import roles
from pipeline_tasks.serving.access.roles import OPEN_PATHS, Refusal
from pipeline_tasks.serving.metrics import SLOW
from pipeline_tasks.serving.rest.exchange import Answers, Reply, Request
from pipeline_tasks.serving.tokens import Tokens

log = logging.getLogger("pipeline_tasks.serving.access")

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

    def __init__(
        self, app: Answers, *, limits: Limits, tokens: Tokens, refused: Counter[str]
    ) -> None:
        self.app, self._tokens, self._refused = app, tokens, refused
        self.limits = limits
        self.held_bytes = 0
        self._second, self._lines = 0, 0

    def refusal(self, method: str, path: str, authorization: bytes) -> Refusal | None:
        """Why who asks may not; None when they may."""
        if not self._tokens:
            return None
        role = roles.role_for(method, path)
        return roles.refusal(self._tokens, role, authorization.decode("latin-1"))

    def overloaded(self, what: str, number: int) -> Refusal:
        """Come back later."""
        self._refused[what] += 1
        message = f"{TOLD[what].format(number)}; try again soon"
        return Refusal(503, message, ((b"retry-after", b"1"),), closes=True)

    def too_slow(self, message: str) -> Refusal:
        """Whoever is cut off may not be there to read it."""
        self._refused[SLOW] += 1
        return Refusal(408, message, closes=True)

    def noted(self, request: Request, reply: Reply, seconds: float) -> None:
        """A line in the log for what fails or is slow: without query, headers and body."""
        if (reply.status >= 400 or seconds > SLOW_SECONDS) and request.path not in OPEN_PATHS:
            self._note(request, reply, seconds)

    def _note(self, request: Request, reply: Reply, seconds: float) -> None:
        """Not too many in a second."""
        second = int(time.monotonic())
        if second != self._second:
            if self._lines > LINES_A_SECOND:
                log.warning("%s more lines like these", self._lines - LINES_A_SECOND)
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > LINES_A_SECOND:
            return
        status = reply.status
        what = f"{request.method} {unquote(request.path)[:200]}" if request.path else "no request"
        extra: dict[str, object] = {"status": status, "milliseconds": round(seconds * 1000, 1)}
        if identity := dict(reply.headers).get(b"perennial-prediction-id") or _request_id(request):
            extra["request_id"] = identity.decode()
        if request.path.startswith("/v1/models/"):
            extra["model"] = re.split("[:/]", request.path[11:139])[0]
        level = logging.ERROR if status >= 500 and status != 503 else logging.WARNING
        log.log(level, "%s: %s", what, status, extra=extra)


def _request_id(request: Request) -> bytes:
    found = request.headers.get(b"x-request-id", b"")
    return found if REQUEST_ID.fullmatch(found) else b""
