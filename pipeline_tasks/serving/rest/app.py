"""The server's routes, as a plain ASGI application: TensorFlow Serving's, and our own."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from pipeline_tasks.serving.asking import Answer, Asked
from pipeline_tasks.serving.observed.labels import Labels
from pipeline_tasks.serving.rest import bodies, codec, encoding, examples, overview
from pipeline_tasks.serving.rest.bodies import Receive
from pipeline_tasks.serving.rest.failures import Failure, bad_request, not_found
from pipeline_tasks.serving.rest.parsing import document
from pipeline_tasks.serving.service import Service

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Reply = tuple[int, bytes, Headers]

MAXIMUM_VERSION = 2**63 - 1
NAMED = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
ASKED = re.compile(
    r"/v1/models/(?P<name>[^/:]+)" + NAMED + ":(?P<verb>predict|classify|regress)", re.IGNORECASE
)
STATUS = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+))?" + NAMED + "(?P<metadata>/metadata)?", re.IGNORECASE
)
LABEL = re.compile(r"/v1/models/(?P<name>[^/:]+):label", re.IGNORECASE)
OVERVIEW = re.compile(r"/perennial/models/(?P<name>[^/:]+)")
JSON: Headers = [(b"content-type", b"application/json")]
TEXT: Headers = [(b"content-type", b"text/plain; charset=utf-8")]
METRICS_PATH = "/monitoring/prometheus/metrics"


class App:
    """Routes, reads and writes; `service` does the work."""

    def __init__(self, service: Service, labels: Labels | None) -> None:
        self._service = service
        self._labels = labels

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's start and stop."""
        if scope["type"] == "http":
            status, body, headers = await self._reply(scope, receive)
            length = (b"content-length", str(len(body)).encode())
            await send(
                {"type": "http.response.start", "status": status, "headers": [*headers, length]}
            )
            await send({"type": "http.response.body", "body": body})
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._service.start()
            else:
                await asyncio.to_thread(self._close)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def _close(self) -> None:
        self._service.close()
        if self._labels:
            self._labels.close()

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        try:
            return await self._route(scope, receive)
        except Failure as failure:
            return _failed(failure)
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            return _failed(Failure(500, f"internal error: {type(error).__name__}"))

    async def _route(self, scope: Scope, receive: Receive) -> Reply:
        method = scope["method"]
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        if method == "POST":
            headers = dict(scope["headers"])
            if asked := ASKED.fullmatch(path):
                return await self._ask(asked, headers, receive)
            if labelled := LABEL.fullmatch(path):
                return await self._label(unquote(labelled["name"]), headers, receive)
        elif method == "GET":
            if wanted := STATUS.fullmatch(path):
                return self._status(wanted)
            if path in ("/livez", "/readyz", METRICS_PATH):
                return self._operate(path)
            if shown := OVERVIEW.fullmatch(path):
                return 200, _json(overview.of(self._service.versions, unquote(shown["name"]))), JSON
        elif method == "OPTIONS" and _origin(scope).startswith((b"http://", b"https://")):
            return 200, b"", JSON
        if path[:4].lower() == "/v1/":
            raise bad_request(f"Malformed request: {method} {path[:200]}")
        if path.lower() == "/v1/models":
            raise bad_request(f"Malformed request: {method} {path}")
        raise not_found(f"no such path: {path[:200]}")

    def _operate(self, path: str) -> Reply:
        if path == METRICS_PATH:
            return 200, self._service.metrics.text(), TEXT
        if path == "/livez" or self._service.versions.is_ready():
            return 200, b"ok\n", TEXT
        return 503, b"a model has no version that answers yet\n", TEXT

    def _status(self, wanted: re.Match[str]) -> Reply:
        if not wanted["name"]:
            raise bad_request("Missing model name in request.")
        asked = Asked(**_model_of(wanted))
        if wanted["metadata"]:
            return 200, _json(self._service.metadata(asked)), JSON
        states = [
            {
                "version": str(number),
                "state": found.state,
                "status": {
                    "error_code": "UNKNOWN" if found.error else "OK",
                    "error_message": found.error,
                },
            }
            for number, found in sorted(self._service.states(asked).items(), reverse=True)
        ]
        return 200, _json({"model_version_status": states}), JSON

    async def _ask(
        self, match: re.Match[str], headers: dict[bytes, bytes], receive: Receive
    ) -> Reply:
        verb = match["verb"].lower()
        asked = {
            **_model_of(match),
            "request_id": headers.get(b"x-request-id", b"").decode(errors="replace")[:128],
            "key": headers.get(b"perennial-key", b"").decode(errors="replace"),
            "is_probe": headers.get(b"perennial-probe") == b"true",
        }
        try:
            body = await bodies.read(headers, receive)
            request = codec.request(body) if verb == "predict" else document(body)
            sent = examples.serialized(request, body) if isinstance(request, dict) else []
        except Failure as failure:
            self._service.refused(Asked(**asked), verb, failure)
            raise
        if not isinstance(request, dict):
            asked["signature"] = request.signature
            answer = await self._service.predict(
                Asked(**asked), lambda found: codec.decode(request, found.inputs)
            )
            content = encoding.predictions(answer.outputs, is_by_row=request.is_by_row)
            return 200, content, _said(answer)
        asked["signature"] = request.get("signature_name", "")
        if verb == "classify":
            answer = await self._service.classify(Asked(**asked), sent)
            return 200, encoding.classifications(answer.outputs, answer.rows), _said(answer)
        answer = await self._service.regress(Asked(**asked), sent)
        return 200, encoding.regressions(answer.outputs, answer.rows), _said(answer)

    async def _label(self, name: str, headers: dict[bytes, bytes], receive: Receive) -> Reply:
        body = await bodies.read(headers, receive)
        if not self._service.versions.is_known(name):
            raise not_found(f"Could not find any versions of model {name}")
        if self._labels is None:
            raise Failure(501, "this server keeps no labels")
        return 200, _json(await self._labels.accept(name, body)), JSON


def _said(answer: Answer) -> Headers:
    return [
        *JSON,
        (b"perennial-version", b"%d" % answer.version),
        (b"perennial-prediction-id", answer.id.encode()),
    ]


def _model_of(match: re.Match[str]) -> dict[str, Any]:
    version, label = match["version"], match["label"]
    if version and (len(version) > 4000 or int(version) > MAXIMUM_VERSION):
        raise bad_request(f"Failed to convert version: {version[:40]} to numeric.")
    return {
        "model": unquote(match["name"]),
        "version": int(version) if version else None,
        "label": unquote(label) if label else None,
    }


def _origin(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"origin"), b"")


def _failed(failure: Failure) -> Reply:
    after = failure.retry_after_seconds
    extra = [(b"retry-after", str(after).encode())] if after else []
    closing = [(b"connection", b"close")] if failure.status == 413 else []
    return failure.status, _json({"error": failure.message}), [*JSON, *extra, *closing]


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=4).encode()
