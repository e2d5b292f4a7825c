"""A client of the model server; the predict and status calls fit TensorFlow Serving as well."""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from pipeline_tasks.core.errors import ConfigError, DeploymentError, TransientError

POLL_SECONDS = 0.1
TOKEN, TOKEN_FILE = "PERENNIAL_SERVER_TOKEN", "PERENNIAL_SERVER_TOKEN_FILE"
AUTHORITY = "PERENNIAL_SERVER_CA"


class Client:
    """Talks to the server at `url`.

    With the token in PERENNIAL_SERVER_TOKEN, or in the file PERENNIAL_SERVER_TOKEN_FILE, if there
    is one; over https, a server's certificate is checked against the file PERENNIAL_SERVER_CA, or
    the system's authorities. Raises ConfigError when such a file cannot be read.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 30) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout_seconds,
            headers=_authorization(),
            verify=_authorities(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_alive(self) -> None:
        """Raises TransientError when nothing answers."""
        self._get("/livez")

    def predict(
        self,
        model: str,
        instances: Sequence[Any],
        *,
        version: int | None = None,
        is_probe: bool = False,
    ) -> tuple[list[Any], int, str]:
        """Predictions, the version that answered and the request's prediction id.

        Row i of the request has the prediction id `<id>-<i>`. A probe is not logged: it tests the
        server and says nothing about production.
        Raises DeploymentError when the server refuses, TransientError when it is not there.
        """
        where = f"/versions/{version}" if version is not None else ""
        path = f"/v1/models/{model}{where}:predict"
        headers = {"perennial-probe": "true"} if is_probe else {}
        reply = self._send("POST", path, {"instances": list(instances)}, headers)
        if reply.status_code != httpx.codes.OK:
            raise DeploymentError(f"POST {self.url}{path}: {_refusal(reply)}")
        answered = int(reply.headers.get("perennial-version", version or 0))
        return (
            reply.json()["predictions"],
            answered,
            reply.headers.get("perennial-prediction-id", ""),
        )

    def label(self, model: str, labels: Mapping[str, str | int | float]) -> int:
        """Tell the true labels by prediction id; returns how many were accepted.

        Those that are known already change nothing; another one corrects.
        """
        path = f"/v1/models/{model}:label"
        content = [{"id": key, "label": label} for key, label in labels.items()]
        reply = self._send("POST", path, {"labels": content})
        if reply.status_code != httpx.codes.OK:
            raise DeploymentError(f"POST {self.url}{path}: {_refusal(reply)}")
        return int(reply.json()["accepted"])

    def states(self, model: str) -> dict[int, tuple[str, str]]:
        """State and error message of each version; nothing for a model the server does not know."""
        reply = self._send("GET", f"/v1/models/{model}")
        if reply.status_code == httpx.codes.NOT_FOUND:
            return {}
        found = reply.raise_for_status().json()["model_version_status"]
        return {
            int(one["version"]): (one["state"], one["status"]["error_message"]) for one in found
        }

    def wait_available(self, model: str, version: int, *, timeout_seconds: float) -> None:
        """Wait until `version` is AVAILABLE.

        Raises DeploymentError when it failed to load, or is not there in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            states = self.states(model)
            state, error = states.get(version, ("not seen yet", ""))
            if state == "AVAILABLE":
                return
            if error or time.monotonic() > deadline:
                raise DeploymentError(
                    f"{self.url} does not serve version {version} of {model}: {error or state}",
                    expected=f"AVAILABLE within {timeout_seconds:g} s; versions seen: {states}",
                    fix="read the server's log; check that it watches the models folder",
                )
            time.sleep(POLL_SECONDS)

    def on_trial(self, model: str) -> int | None:
        """The version on trial, which answers some of the requests or shadows them."""
        reply = self._send("GET", f"/perennial/models/{model}")
        found = reply.json()["trial"] if reply.status_code == httpx.codes.OK else None
        return int(found["version"]) if found else None

    def metrics(self) -> str:
        """What the server counts, as Prometheus' text."""
        return self._get("/monitoring/prometheus/metrics").text

    def memory_bytes(self) -> float:
        """The server's resident memory, from its metrics."""
        for line in self.metrics().splitlines():
            if line.startswith("process_resident_memory_bytes"):
                return float(line.split()[-1])
        return float("nan")

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def _get(self, path: str) -> httpx.Response:
        reply = self._send("GET", path)
        if reply.status_code != httpx.codes.OK:
            raise TransientError(f"GET {self.url}{path}: {_refusal(reply)}")
        return reply

    def _send(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        # A missing number travels as NaN, which the server's contract allows and httpx refuses.
        body = None if content is None else json.dumps(content).encode()
        typed = {"content-type": "application/json", **(headers or {})}
        try:
            return self._http.request(method, path, content=body, headers=typed)
        except httpx.TransportError as error:
            raise TransientError(
                f"no answer from the model server at {self.url}: {error or type(error).__name__}",
                expected="a running model server",
                fix="start it (`make run` does), or set PERENNIAL_SERVER to its address",
            ) from error


def _refusal(reply: httpx.Response) -> str:
    return f"status {reply.status_code}, {reply.text[:500]}"


def _authorization() -> dict[str, str]:
    token, path = os.environ.get(TOKEN, ""), os.environ.get(TOKEN_FILE)
    if not token and path:
        try:
            token = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{TOKEN_FILE}: {path} cannot be read: {error}") from None
    if not token.isascii() or not token.isprintable():
        raise ConfigError("the model server's token has characters that no header can carry")
    return {"authorization": f"Bearer {token}"} if token else {}


def _authorities(url: str) -> ssl.SSLContext | bool:
    path = os.environ.get(AUTHORITY)
    if not path or not url.startswith("https:"):
        return True
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ConfigError(f"{AUTHORITY}: {path} cannot be used: {error}") from None
