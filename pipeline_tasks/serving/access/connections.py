"""One client's connection: what it may send, how fast and how much, before anyone answers it.

A request is answered when all of it is there: who sends slowly occupies nothing but a socket, and
what is refused by its head is refused before its body is read. Requests that come one upon the
other are answered in their order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any, NamedTuple

import httptools
from uvicorn.server import ServerState

from pipeline_tasks.serving.access import heads
from pipeline_tasks.serving.access.gate import Gate
from pipeline_tasks.serving.access.roles import Refusal
from pipeline_tasks.serving.access.writing import CONTINUE, written
from pipeline_tasks.serving.rest.bodies import MAXIMUM_BYTES, claimed_bytes, is_packed, too_large
from pipeline_tasks.serving.rest.exchange import Reply, Request

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 60


class _Turn(NamedTuple):
    """A request to be answered, or the refusal that it gets; and whether another may follow."""

    request: Request
    refusal: Refusal | None
    is_last: bool


class Connection(asyncio.Protocol):
    """A connection whose requests go through the gate; `sweep` is to be called every second.

    `server_state` is uvicorn's: who is connected, and which tasks its shutdown waits for.
    """

    def __init__(self, *, server_state: ServerState, gate: Gate, **_: Any) -> None:
        self._server, self._gate = server_state, gate
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._begin_message()
        self._begun = self._received = self._held = 0
        self._since: float | None = self._loop.time()  # when the message under way began
        self._idle_since: float | None = None
        self._unread_since: float | None = None
        self._waiting: deque[_Turn] = deque()
        self._is_answering = self._is_blocked = self._is_paused = self._is_ending = False

    def connection_made(self, transport: Any) -> None:
        """Too many of them are told so at once."""
        self._transport = transport
        connections = self._server.connections
        connections.add(self)  # type: ignore[arg-type]
        if len(connections) > self._gate.limits.connections:
            self._refuse(self._gate.overloaded("connections", len(connections)))

    def connection_lost(self, exc: Exception | None) -> None:
        """What it held is free."""
        self._server.connections.discard(self)
        self._parser = None  # which knows this object, too
        self._waiting.clear()
        self._release()

    def shutdown(self) -> None:
        """The server ends: no request begins any more."""
        self._is_ending = True
        if not self._is_answering:
            self._transport.close()

    def pause_writing(self) -> None:
        """The client does not read what it asked for: it gets no more for now."""
        self._is_blocked = True

    def resume_writing(self) -> None:
        """It has read it."""
        self._is_blocked = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Counted, so that neither a head nor a body's wrapping can grow without end."""
        self._begun = 0
        try:
            self._parse(data)
        except httptools.HttpParserCallbackError:  # our own mistake, not the client's
            log.exception("a request could not be taken")
            self._refuse(Refusal(500, "internal error", closes=True))
            return
        except httptools.HttpParserError:
            self._refuse(Refusal(400, "this is not HTTP/1.1", closes=True))
            return
        if self._since is None or self._begun > 1 or self._transport.is_closing():
            return
        self._received += len(data)
        if self._is_head and self._received > heads.MAXIMUM_BYTES:
            self._refuse(heads.too_large())
        elif self._received > 3 * MAXIMUM_BYTES:  # of a body in tiny chunks, most is wrapping
            self._refuse(_body_too_large())

    def _parse(self, data: bytes) -> None:
        """As HTTP/1.1, whatever a request offers to go on with: it is read again without that."""
        while data and not self._transport.is_closing():
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                if self._method == "CONNECT":
                    return  # which is refused already
                self._parser = httptools.HttpRequestParser(self)
                head = heads.without_offer(self._method, self._url, self._headers)
                data = head + data[offer.args[0] :]

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        self._begin_message()
        self._begun += 1
        self._since, self._idle_since, self._received = self._loop.time(), None, 0

    def on_url(self, url: bytes) -> None:
        """Its target, or some of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers; of those that are there twice the last one counts."""
        self._head_bytes += len(name) + len(value)
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Its head is there: refuse it by that, or let its body arrive."""
        parser, headers = self._parser, self._headers
        self._method = parser.get_method().decode("ascii")
        if self._method == "CONNECT":
            self._refuse(Refusal(400, "this is no proxy", closes=True))
        if parser.should_upgrade():
            return
        self._is_head = False
        self._is_last = parser.get_http_version() == "1.0" or not parser.should_keep_alive()
        self._path = heads.path_of(self._url)
        refusal = self._gate.refusal(self._method, self._path, headers.get(b"authorization", b""))
        if not self._path:
            refusal = Refusal(400, "the request's target is no path", closes=True)
        elif self._head_bytes + len(self._url) > heads.MAXIMUM_BYTES:
            refusal = heads.too_large()
        elif refusal is None and int(headers.get(b"content-length", 0)) > MAXIMUM_BYTES:
            refusal = _body_too_large()
        if refusal:
            self._take(refusal)
        elif headers.get(b"expect", b"").lower() == b"100-continue" and not self._is_busy():
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        if self._is_taken:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        self._hold(len(body))
        if self._body_bytes > MAXIMUM_BYTES:
            self._refuse(_body_too_large())
        elif self._gate.held_bytes > self._gate.limits.held_bytes:
            self._refuse(self._gate.overloaded("bytes", self._gate.held_bytes))

    def on_message_complete(self) -> None:
        """All of it is there."""
        if self._parser.should_upgrade():
            return
        self._since = None
        if not self._is_taken:
            self._take(None)
        elif not self._is_busy():  # refused before its body; the next may follow
            self._idle_since = self._loop.time()

    def sweep(self, now: float) -> None:
        """Cut off who takes too long to send a request, to read a reply, or to ask again."""
        limits, transport = self._gate.limits, self._transport
        seconds = limits.head_seconds if self._is_head else limits.request_seconds
        if not transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now > self._unread_since + limits.request_seconds:
            self._gate.too_slow("its reply is not read")
            transport.abort()
        if self._idle_since is not None and now > self._idle_since + KEEP_ALIVE_SECONDS:
            transport.close()
        if self._since is not None and self._is_paused:
            self._since = now  # it is we who do not read
        if self._since is None or now < self._since + seconds or transport.is_closing():
            return
        if self._is_head and not self._received:
            transport.close()  # it has said nothing, so there is nothing to answer
            return
        part = "head" if self._is_head else "body"
        self._refuse(self._gate.too_slow(f"the request's {part} took more than {seconds:g} s"))

    def _begin_message(self) -> None:
        self._url, self._headers, self._head_bytes = b"", dict[bytes, bytes](), 0
        self._method, self._path = "", ""
        self._body, self._body_bytes = list[bytes](), 0
        self._is_head, self._is_taken, self._is_last = True, False, False

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is arriving without the rest of it; nothing can follow."""
        if self._since is not None and self._is_taken:
            self._transport.abort()  # it has its answer
        elif not self._transport.is_closing():
            self._since = None
            self._take(refusal)

    def _take(self, refusal: Refusal | None) -> None:
        """What arrives, or its refusal, is to be answered when it is its turn."""
        self._is_taken = True
        parts, self._body = [] if refusal else self._body, []
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        request = Request(self._method, self._path, self._headers, body)
        self._waiting.append(_Turn(request, refusal, self._is_last))
        self._go_on()
        if self._waiting and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _is_busy(self) -> bool:
        return self._is_answering or bool(self._waiting)

    def _go_on(self) -> None:
        """Answer what is there, in its order; what must be thought about in a task."""
        while self._waiting and not (self._is_answering or self._is_blocked):
            turn = self._waiting.popleft()
            refusal = turn.refusal or self._overload(turn.request)
            if refusal is None:
                self._is_answering = True
                task = self._loop.create_task(self._answer(turn))
                self._server.tasks.add(task)
                task.add_done_callback(self._server.tasks.discard)
            else:
                self._gate.noted(turn.request, refusal.reply, 0.0)
                self._write(turn, refusal.reply)
        if self._is_paused and not self._waiting and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def _overload(self, request: Request) -> Refusal | None:
        limits, tasks = self._gate.limits, len(self._server.tasks)
        if is_packed(request):
            self._hold(min(claimed_bytes(request.body), MAXIMUM_BYTES))
        if tasks >= limits.requests:
            return self._gate.overloaded("requests", tasks)
        if self._gate.held_bytes > limits.held_bytes:
            return self._gate.overloaded("bytes", self._gate.held_bytes)
        return None

    async def _answer(self, turn: _Turn) -> None:
        began = time.perf_counter()
        try:
            reply = await self._gate.app.reply(turn.request)
        except BaseException:  # the server does not wait any longer
            self._transport.abort()
            raise
        self._is_answering = False
        self._gate.noted(turn.request, reply, time.perf_counter() - began)
        self._write(turn, reply)
        self._go_on()

    def _write(self, turn: _Turn, reply: Reply) -> None:
        if self._transport.is_closing():
            return
        is_last = reply.closes or turn.is_last or self._is_ending
        date = self._server.default_headers
        has_body = turn.request.method != "HEAD"
        self._transport.write(written(reply, date, is_last=is_last, has_body=has_body))
        if not self._waiting:
            self._release()
            self._idle_since = None if self._since else self._loop.time()
        if is_last:
            self._waiting.clear()
            self._transport.close()

    def _hold(self, size: int) -> None:
        self._held += size
        self._gate.held_bytes += size

    def _release(self) -> None:
        self._gate.held_bytes -= self._held
        self._held = 0


def _body_too_large() -> Refusal:
    return Refusal(413, too_large().message, closes=True)
