"""A real local S3 server (moto's) in a process of its own, on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

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
