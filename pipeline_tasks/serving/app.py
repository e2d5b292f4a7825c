"""The server's routes, as a plain ASGI application: TensorFlow Serving's, and labels and health."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.serving import codec
from pipeline_tasks.serving.batching import Batcher
from pipeline_tasks.serving.failures import Failure, bad_request, not_found
from pipeline_tasks.serving.metrics import Metrics
from pipeline_tasks.serving.prediction_log import Answered, LabelLog, PredictionLog
from pipeline_tasks.serving.versions import Versions

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Reply = tuple[int, bytes, Headers]

MAXIMUM_BODY_BYTES = 64 * 2**20
MAXIMUM_VERSION = 2**63 - 1
MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
ASKED = re.compile(MODEL + r":(?P<verb>predict|classify|regress|label)", re.IGNORECASE)
STATUS = re.compile(MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
PREDICTION_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
JSON: Headers = [(b"content-type", b"application/json")]
TEXT: Headers = [(b"content-type", b"text/plain; charset=utf-8")]
PROBE = (b"perennial-probe", b"true")
METRICS_PATH = "/monitoring/prometheus/metrics"


class App:
    """One server: `versions` says who answers, `store` keeps what was asked and answered."""

    def __init__(self, versions: Versions, store: Store | None) -> None:
        self._versions = versions
        self._batcher: Batcher | None = None
        self._predictions = PredictionLog(store) if store else None
        self._labels = LabelLog(store) if store else None
        self._metrics = Metrics(log_counts=self._log_counts, versions=versions.answering)

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

    def close(self) -> None:
        """Answer what is waiting, write what is logged, end the threads."""
        self._versions.stop()
        if self._batcher:
            self._batcher.close()
        if self._predictions:
            self._predictions.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._versions.start()
            else:
                await asyncio.to_thread(self.close)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

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
        if method == "POST" and (asked := ASKED.fullmatch(path)):
            return await self._ask(asked, scope, receive)
        if method == "GET" and (wanted := STATUS.fullmatch(path)):
            return self._status(wanted)
        if method == "GET" and path in ("/livez", "/readyz", METRICS_PATH):
            return self._operate(path)
        if path == "/v1/models" and method == "GET":
            raise bad_request("Missing model name in request")
        if path.lower().startswith("/v1/"):
            raise bad_request(f"Malformed request: {method} {path[:200]}")
        raise not_found(f"no such path: {path[:200]}")

    def _operate(self, path: str) -> Reply:
        if path == METRICS_PATH:
            return 200, self._metrics.text(), TEXT
        if path == "/livez" or self._versions.is_ready():
            return 200, b"ok\n", TEXT
        return 503, b"a model has no version that answers yet\n", TEXT

    def _status(self, wanted: re.Match[str]) -> Reply:
        name, version = _model_of(wanted)
        if wanted["metadata"]:
            return 200, _json(self._versions.current(name, version).metadata), JSON
        states = [
            {
                "version": str(number),
                "state": found.state,
                "status": {
                    "error_code": "UNKNOWN" if found.error else "OK",
                    "error_message": found.error,
                },
            }
            for number, found in sorted(self._versions.states(name, version).items(), reverse=True)
        ]
        return 200, _json({"model_version_status": states}), JSON

    async def _ask(self, asked: re.Match[str], scope: Scope, receive: Receive) -> Reply:
        name, version = _model_of(asked)
        verb = asked["verb"].lower()
        if verb in ("classify", "regress"):
            raise Failure(501, f"{verb} is not served; use predict")
        if verb == "label":
            return await self._label(name, await _body(scope, receive))
        began = time.perf_counter()
        status = 500
        try:
            body = await _body(scope, receive)
            is_probe = PROBE in scope["headers"]
            reply = await self._predict(name, version, body, began=began, is_probe=is_probe)
            status = reply[0]
        except Failure as failure:
            status = failure.status
            raise
        finally:
            if self._versions.is_known(name):
                self._metrics.observe(name, status, time.perf_counter() - began)
        return reply

    async def _predict(
        self, name: str, version: int | None, body: bytes, *, began: float, is_probe: bool
    ) -> Reply:
        model = self._versions.current(name, version)
        request = codec.decode(codec.parse(body), model.inputs)
        if self._batcher is None:
            self._batcher = Batcher(asyncio.get_running_loop())
        outputs = await self._batcher.ask(model, request.arrays, request.rows)
        content = codec.encode(outputs, is_by_row=request.is_by_row)
        identity = uuid.uuid4().hex
        if self._predictions and not is_probe:
            answered = Answered(
                model=name,
                version=model.version,
                id=identity,
                time=clock.text(clock.now()),
                rows=request.rows,
                arrays=request.arrays,
                outputs=outputs,
                latency_ms=(time.perf_counter() - began) * 1000,
            )
            self._predictions.add(answered)
        headers = [
            (b"perennial-version", str(model.version).encode()),
            (b"perennial-prediction-id", identity.encode()),
        ]
        return 200, content, [*JSON, *headers]

    async def _label(self, name: str, body: bytes) -> Reply:
        if not self._versions.is_known(name):
            raise not_found(f"Could not find any versions of model {name}")
        if self._labels is None:
            raise Failure(501, "this server keeps no labels")
        labels = _labels_of(codec.parse(body))
        try:
            await asyncio.to_thread(self._labels.write, name, labels)
        except OSError as error:
            message = f"the labels could not be kept: {error.strerror}"
            raise Failure(503, message, retry_after_seconds=10) from error
        return 200, _json({"accepted": len(labels)}), JSON

    def _log_counts(self) -> tuple[int, int]:
        return (
            (self._predictions.written, self._predictions.dropped) if self._predictions else (0, 0)
        )


def _model_of(match: re.Match[str]) -> tuple[str, int | None]:
    version = int(match["version"]) if match["version"] and len(match["version"]) < 25 else None
    if match["version"] and (version is None or version > MAXIMUM_VERSION):
        raise bad_request(f"Failed to convert version: {match['version'][:40]} to numeric.")
    if match["label"]:
        label = unquote(match["label"])
        raise bad_request(f"Unrecognized servable version label: {label}")
    return unquote(match["name"]), version


async def _body(scope: Scope, receive: Receive) -> bytes:
    headers = dict(scope["headers"])
    if int(headers.get(b"content-length", b"0")) > MAXIMUM_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size, has_more = 0, True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Failure(499, "the client went away")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAXIMUM_BODY_BYTES:
            raise _too_large()
        has_more = message.get("more_body", False)
    body = b"".join(parts)
    return _unzipped(body) if headers.get(b"content-encoding") == b"gzip" else body


def _unzipped(body: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        content = unzip.decompress(body, MAXIMUM_BODY_BYTES + 1)
    except zlib.error as error:
        raise bad_request("the body is not gzip, as its content-encoding says") from error
    if len(content) > MAXIMUM_BODY_BYTES:
        raise _too_large()
    return content


def _labels_of(document: Any) -> dict[str, str | float]:
    entries = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise bad_request('expected {"labels": [{"id": "<prediction id>", "label": ...}, ...]}')
    labels: dict[str, str | float] = {}
    for number, entry in enumerate(entries):
        found = entry if isinstance(entry, dict) else {}
        identity, label = found.get("id"), found.get("label")
        if not isinstance(identity, str) or not PREDICTION_ID.fullmatch(identity):
            raise bad_request(
                f"labels[{number}]: id must be a prediction id, found {identity!r:.80}"
            )
        is_finite = not isinstance(label, float) or math.isfinite(label)
        if not isinstance(label, str | int | float) or isinstance(label, bool) or not is_finite:
            raise bad_request(f"labels[{number}]: label must be text or a number: {label!r:.80}")
        labels[identity] = label
    return labels


def _too_large() -> Failure:
    return Failure(413, f"the body is larger than {MAXIMUM_BODY_BYTES // 2**20} MiB")


def _failed(failure: Failure) -> Reply:
    body = json.dumps({"error": failure.message}).encode()
    after = failure.retry_after_seconds
    extra = [(b"retry-after", str(after).encode())] if after else []
    closing = [(b"connection", b"close")] if failure.status == 413 else []
    return failure.status, body, [*JSON, *extra, *closing]


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=4).encode()
