"""One client's connection: what it may send, how fast and how much, before anyone answers it.

uvicorn hands a request over when its head is there, and then waits for the body for ever. Here a
request is handed over when all of it is there: who sends slowly occupies nothing but a socket, and
what is refused by its head is refused before its body is read.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from pipeline_tasks.serving.access.gate import CLOSE, Gate
from pipeline_tasks.serving.access.roles import Refusal
from pipeline_tasks.serving.rest.bodies import MAXIMUM_BYTES, too_large

MAXIMUM_HEAD_BYTES = 32 * 2**10
GZIP_RATIO = 1032  # no gzip body unpacks to more


class Connection(HttpToolsProtocol):
    """A connection whose requests go through the gate; `sweep` is to be called every second."""

    def __init__(self, *args: Any, gate: Gate, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate = gate
        self._since: float | None = self.loop.time()  # when the message under way began
        self._is_head, self._begun, self._received = True, 0, 0
        self._arriving: tuple[RequestResponseCycle, Any] | None = None
        self._is_gzip, self._held = False, 0
        self._unread_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        """Too many of them are told so at once."""
        super().connection_made(transport)
        if len(self.connections) > self._gate.limits.connections:
            self._write(self._gate.overloaded("connections", len(self.connections)))

    def connection_lost(self, exc: Exception | None) -> None:
        """What it held is free."""
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counted, so that neither a head nor a body's wrapping can grow without end."""
        self._begun = 0
        super().data_received(data)
        if self._since is None or self._begun > 1 or self.transport.is_closing():
            return
        self._received += len(data)
        if self._is_head and self._received > MAXIMUM_HEAD_BYTES:
            self._write(_head_too_large())
        elif self._received > 3 * MAXIMUM_BYTES:  # of a body in tiny chunks, most is wrapping
            self._refuse(_body_too_large())

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        super().on_message_begin()
        self._begun += 1
        self._since, self._is_head, self._received = self.loop.time(), True, 0

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._is_head = False
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Refuse it by its head, or let its body arrive first."""
        length, authorization, self._is_gzip, size = 0, "", False, 0
        for name, value in cycle.scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length":
                length = int(value)
            elif name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"content-encoding":
                self._is_gzip = value == b"gzip"
        scope = cycle.scope
        refusal = self._gate.refusal(scope["method"], scope["raw_path"], authorization)
        if size + len(scope["raw_path"]) > MAXIMUM_HEAD_BYTES:
            refusal = _head_too_large()
        elif refusal is None and length > MAXIMUM_BYTES:
            refusal = _body_too_large()
        if refusal:
            super()._start_asgi_task(cycle, self._gate.noting(refusal))
        elif not cycle.more_body:
            self._begin(cycle, app)
        else:
            self._arriving = cycle, app
            self._hold(len(cycle.body))
            if cycle.waiting_for_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                cycle.waiting_for_100_continue = False

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        if self._arriving is None:
            super().on_body(body)
            return
        cycle = self._arriving[0]
        cycle.body += body
        self._hold(len(body))
        if len(cycle.body) > MAXIMUM_BYTES:
            self._refuse(_body_too_large())
        elif self._gate.held_bytes > self._gate.limits.held_bytes:
            self._refuse(self._gate.overloaded("bytes", self._gate.held_bytes))

    def on_message_complete(self) -> None:
        """All of it is there."""
        super().on_message_complete()
        self._since = None
        if self._arriving:
            (cycle, app), self._arriving = self._arriving, None
            self._begin(cycle, app)
        elif self.cycle.response_complete and not self.transport.is_closing():
            self._unset_keepalive_if_required()  # refused before its body; the next may follow
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """It is answered."""
        self._release()
        super().on_response_complete()

    def sweep(self, now: float) -> None:
        """Cut off who takes too long to send a request, or to read a reply."""
        limits = self._gate.limits
        seconds = limits.head_seconds if self._is_head else limits.request_seconds
        if not self.transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now > self._unread_since + limits.request_seconds:
            self._gate.too_slow("its reply is not read")
            self.transport.abort()
        if self._since is not None and self.flow.read_paused:
            self._since = now  # it is we who do not read
        if self._since is None or now < self._since + seconds or self.transport.is_closing():
            return
        if self._is_head and not self._received:
            self.transport.close()  # it has said nothing, so there is nothing to answer
            return
        part = "head" if self._is_head else "body"
        self._refuse(self._gate.too_slow(f"the request's {part} took more than {seconds:g} s"))

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._is_gzip:
            self._hold(min(GZIP_RATIO * len(cycle.body), MAXIMUM_BYTES))
        if len(self.tasks) >= self._gate.limits.requests:
            app = self._gate.noting(self._gate.overloaded("requests", len(self.tasks)))
        elif self._gate.held_bytes > self._gate.limits.held_bytes:
            app = self._gate.noting(self._gate.overloaded("bytes", self._gate.held_bytes))
        super()._start_asgi_task(cycle, app)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer the request that is arriving without the rest of it."""
        if self._arriving:
            (cycle, _), self._arriving = self._arriving, None
            self._since = None
            super()._start_asgi_task(cycle, self._gate.noting(refusal))
        elif self._is_head and (self.cycle is None or self.cycle.response_complete):
            self._write(refusal)
        else:
            self.transport.abort()  # it has its answer, or the request before it waits for one

    def _write(self, refusal: Refusal) -> None:
        """Answer where there is no request to answer yet, and close."""
        self._since = None
        self._gate.note(None, refusal.status, 0.0)
        body = refusal.body
        lines = [STATUS_LINE[refusal.status], b"content-type: application/json\r\n"]
        lines += [name + b": " + value + b"\r\n" for name, value in refusal.headers]
        lines += [b"content-length: %d\r\n\r\n" % len(body), body]
        self.transport.write(b"".join(lines))
        self.transport.close()

    def _hold(self, size: int) -> None:
        self._held += size
        self._gate.held_bytes += size

    def _release(self) -> None:
        self._gate.held_bytes -= self._held
        self._held = 0


def _head_too_large() -> Refusal:
    message = f"the request's head is larger than {MAXIMUM_HEAD_BYTES // 2**10} KiB"
    return Refusal(431, message, CLOSE)


def _body_too_large() -> Refusal:
    return Refusal(413, too_large().message, CLOSE)
