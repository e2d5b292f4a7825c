"""A real model server in a process of its own, for tests."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).parent.parent


class Server:
    """`python -m pipeline_tasks.serving` over a models folder and a store.

    options: more of its command line. authority: the certificates to check its own by, over https.
    changes: of its environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[object] = (),
        authority: Path | None = None,
        **changes: str,
    ) -> None:
        self.models, self.store = folder / "models", folder / "store"
        self.models.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.authority = authority
        self.url = f"http{'s' if authority else ''}://127.0.0.1:{self.port}"
        self._options, self._changes = [str(one) for one in options], changes
        self._log = folder / f"server-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start it and wait until it answers."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [*COMMAND, "--port", str(self.port), *self._folders(), *self._options],
                cwd=PROJECT,
                env=environment(**self._changes),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.wait(lambda: self.answers("/livez"))
        return self

    def answers(self, path: str) -> bool:
        """A GET of `path` has status 200."""
        try:
            verify = ssl.create_default_context(cafile=self.authority) if self.authority else True
            return httpx.get(self.url + path, timeout=5, verify=verify).status_code == 200
        except httpx.TransportError:
            return False

    def post(self, path: str, content: Any, **headers: str) -> httpx.Response:
        """POST JSON, or bytes as they are."""
        body = {"content": content} if isinstance(content, bytes) else {"json": content}
        return httpx.post(self.url + path, headers=headers, timeout=60, **body)

    def wait(self, is_true: Any, seconds: float = 60) -> None:
        """Wait until `is_true()`; fails with the server's log."""
        deadline = time.monotonic() + seconds
        while not is_true():
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, and wait until nothing listens: workers see that it is gone a moment later."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + 60
        while self._is_listening():
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _folders(self) -> list[str]:
        return ["--models", str(self.models), "--store", str(self.store)]


COMMAND = [sys.executable, "-m", "pipeline_tasks.serving"]


def free_port() -> int:
    """A port nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**changes: str) -> dict[str, str]:
    """The environment for a process of a test: bytecode is written, the project can be imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PERENNIAL"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")])
    return kept | {"PYTHONPATH": path} | changes


def self_made_certificate(folder: Path) -> tuple[Path, Path]:
    """Files of a certificate for 127.0.0.1 that vouches for itself, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key), "-days", "2"),
            *("-out", str(certificate), "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
