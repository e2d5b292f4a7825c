"""A real local S3 server (moto's) in a process of its own, on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

SECRET = "s3cret/of+tests"
# It looks whether an object is there and then writes it, which is one step in S3 itself: so it
# does one request after the other.
SERVER = """
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication, MotoRequestHandler, create_backend_app,
)
from werkzeug.serving import make_server

app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=MotoRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def running() -> Iterator[str]:
    """The server's address; it takes any key."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS")}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        assert port, "moto's server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)
        assert server.stdout is not None
        server.stdout.close()


def environment(address: str) -> dict[str, str]:
    """What a client needs to be told; the usual variables of AWS."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a store in a new bucket, with this process told how to get there."""
    import fsspec

    for name, value in environment(address).items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex}"
    # A client is kept as long as the process lives, and knows only the server it was made for.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    files, _ = fsspec.url_to_fs(f"s3://{name}")
    files.mkdir(f"/{name}")
    return f"s3://{name}/some/prefix"


class Road:
    """The way to a server, for a while closed: whoever comes then is refused.

    address: where it begins, the same all the time.
    """

    def __init__(self, to: str) -> None:
        host, port = to.removeprefix("http://").split(":")
        self._to = host, int(port)
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._accept(self._listening)

    def close(self) -> None:
        """Cut what goes on, and refuse the rest."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Let them through again."""
        self._listening = socket.create_server(("127.0.0.1", self._port))
        self._accept(self._listening)

    def _accept(self, listening: socket.socket) -> None:
        threading.Thread(target=self._take, args=(listening,), daemon=True).start()

    def _take(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listening.accept()
                there = socket.create_connection(self._to)
                for one, other in ((here, there), (there, here)):
                    self._open.add(one)
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(2**16):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)
        self._open.discard(one)
        if other not in self._open:
            one.close()
            other.close()
