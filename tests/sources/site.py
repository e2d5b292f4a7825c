"""A real HTTP server on this machine that answers as a test says, and remembers what was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Request:
    """What was asked."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Reply:
    """What is answered; `chunks` are sent one after the other, `pause_seconds` between them."""

    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: int = 1
    pause_seconds: float = 0.0
    is_cut: bool = False


@dataclass
class Site:
    """A server: where it is, and what it was asked."""

    answer: Callable[[Request], Reply]
    url: str = ""
    asked: list[Request] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.asked]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""


@contextmanager
def serving(answer: Callable[[Request], Reply]) -> Iterator[Site]:
    site = Site(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            request = Request(parts.path, dict(parse_qsl(parts.query)), dict(self.headers.items()))
            site.asked.append(request)
            reply = site.answer(request)
            body = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            headers = {"Content-Length": str(len(body) * reply.chunks + reply.is_cut)}
            for name, value in (headers | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            for _ in range(reply.chunks):
                self.wfile.write(body)
                self.wfile.flush()
                time.sleep(reply.pause_seconds)

        def log_message(self, *_):
            """Not on the terminal."""

    with Server(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
