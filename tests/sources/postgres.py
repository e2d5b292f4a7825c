"""A real PostgreSQL of its own, on a free port, gone when its tests are."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534
PASSWORD = "p@ss/w:rd-1"


def program(name: str) -> str:
    """Where a program of PostgreSQL is; without it, the test is skipped."""
    known = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(known[-1]) if known else shutil.which(name)
    return found or pytest.skip(f"{name} of PostgreSQL is not on this machine")


@contextmanager
def running() -> Iterator[int]:
    """The port of a server whose only user is `me` with PASSWORD; it refuses to run as root."""
    pytest.importorskip("psycopg2", reason="the driver, psycopg2-binary, is not installed")
    initdb, postgres = program("initdb"), program("postgres")
    with tempfile.TemporaryDirectory(prefix="perennial-postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        user = NOBODY if os.getuid() == 0 else os.getuid()
        if os.getuid() == 0:
            for path in (folder, folder / "password"):
                os.chown(path, NOBODY, NOBODY)
        settings = {
            "user": user,
            "cwd": folder,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        if os.getuid() != 0:
            del settings["user"]
        options = ["-D", str(folder / "data"), "-U", "me", "-A", "scram-sha-256", "-N"]
        options += ["--pwfile", str(folder / "password"), "--encoding", "UTF8", "--locale", "C"]
        done = subprocess.run([initdb, *options], check=False, text=True, **settings)
        assert done.returncode == 0, done.stdout
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        settings["stdout"] = subprocess.DEVNULL
        where = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
        server = subprocess.Popen([postgres, "-D", str(folder / "data"), *where], **settings)
        try:
            _wait_for(port, server)
            yield port
        finally:
            server.terminate()
            server.wait(timeout=60)


def _wait_for(port: int, server: subprocess.Popen) -> None:
    import psycopg2

    for _ in range(600):
        assert server.poll() is None, "PostgreSQL ended"
        try:
            psycopg2.connect(
                host="127.0.0.1", port=port, user="me", password=PASSWORD, dbname="postgres"
            ).close()
        except psycopg2.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("PostgreSQL does not answer")
