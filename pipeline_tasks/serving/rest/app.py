"""The server's routes: TensorFlow Serving's, and our own."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any
from urllib.parse import unquote

from pipeline_tasks.serving.asking import Answer, Asked
from pipeline_tasks.serving.observed.labels import Labels
from pipeline_tasks.serving.rest import bodies, codec, encoding, examples, overview
from pipeline_tasks.serving.rest.exchange import JSON, TEXT, Headers, Reply, Request
from pipeline_tasks.serving.rest.failures import Failure, bad_request, not_found
from pipeline_tasks.serving.rest.parsing import document
from pipeline_tasks.serving.service import Service

log = logging.getLogger(__name__)

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
SCHEMES = (b"http://", b"https://")
METRICS_PATH = "/monitoring/prometheus/metrics"


class App:
    """Routes, reads and writes; `service` does the work."""

    def __init__(self, service: Service, labels: Labels | None) -> None:
        self._service = service
        self._labels = labels

    async def start(self) -> None:
        """Look for versions from now on."""
        self._service.start()

    async def close(self) -> None:
        """Write what is logged, and end."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._service.close()
        if self._labels:
            self._labels.close()

    async def reply(self, request: Request) -> Reply:
        """Answer one request, whatever happens."""
        try:
            return await self._route(request)
        except Failure as failure:
            return _failed(failure)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            return _failed(Failure(500, f"internal error: {type(error).__name__}"))

    async def _route(self, request: Request) -> Reply:
        method, path = request.method, request.path
        if method == "POST":
            if asked := ASKED.fullmatch(path):
                return await self._ask(asked, request)
            if labelled := LABEL.fullmatch(path):
                return await self._label(unquote(labelled["name"]), request)
        elif method == "GET":
            if wanted := STATUS.fullmatch(path):
                return self._status(wanted)
            if path in ("/livez", "/readyz", METRICS_PATH):
                return self._operate(path)
            if shown := OVERVIEW.fullmatch(path):
                found = overview.of(self._service.versions, unquote(shown["name"]))
                return Reply(200, _json(found))
        elif method == "OPTIONS" and request.headers.get(b"origin", b"").startswith(SCHEMES):
            return Reply(200, b"")
        if path[:4].lower() == "/v1/":
            raise bad_request(f"Malformed request: {method} {path[:200]}")
        if path.lower() == "/v1/models":
            raise bad_request(f"Malformed request: {method} {path}")
        raise not_found(f"no such path: {path[:200]}")

    def _operate(self, path: str) -> Reply:
        if path == METRICS_PATH:
            return Reply(200, self._service.metrics.text(), TEXT)
        if path == "/livez" or self._service.versions.is_ready():
            return Reply(200, b"ok\n", TEXT)
        return Reply(503, b"a model has no version that answers yet\n", TEXT)

    def _status(self, wanted: re.Match[str]) -> Reply:
        if not wanted["name"]:
            raise bad_request("Missing model name in request.")
        asked = Asked(**_model_of(wanted))
        if wanted["metadata"]:
            return Reply(200, _json(self._service.metadata(asked)))
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
        return Reply(200, _json({"model_version_status": states}))

    async def _ask(self, match: re.Match[str], request: Request) -> Reply:
        verb = match["verb"].lower()
        asked = _asked(match, request)
        try:
            body = await bodies.unpacked(request) if bodies.is_packed(request) else request.body
            found = codec.request(body) if verb == "predict" else document(body)
            sent = examples.serialized(found, body) if isinstance(found, dict) else []
        except Failure as failure:
            self._service.refused(asked, verb, failure)
            raise
        if not isinstance(found, dict):
            return await self._predict(asked._replace(signature=found.signature), found)
        asked = asked._replace(signature=found.get("signature_name", ""))
        if verb == "classify":
            answer = await self._service.classify(asked, sent)
            return _said(answer, encoding.classifications(answer.outputs, answer.rows))
        answer = await self._service.regress(asked, sent)
        return _said(answer, encoding.regressions(answer.outputs, answer.rows))

    async def _predict(self, asked: Asked, sent: codec.Request) -> Reply:
        answer = await self._service.predict(asked, lambda found: codec.decode(sent, found.inputs))
        return _said(answer, encoding.predictions(answer.outputs, is_by_row=sent.is_by_row))

    async def _label(self, name: str, request: Request) -> Reply:
        body = await bodies.unpacked(request) if bodies.is_packed(request) else request.body
        if not self._service.versions.is_known(name):
            raise not_found(f"Could not find any versions of model {name}")
        if self._labels is None:
            raise Failure(501, "this server keeps no labels")
        return Reply(200, _json(await self._labels.accept(name, body)))


def _asked(match: re.Match[str], request: Request) -> Asked:
    header = request.headers.get
    return Asked(
        **_model_of(match),
        request_id=header(b"x-request-id", b"").decode(errors="replace")[:128],
        key=header(b"perennial-key", b"").decode(errors="replace"),
        is_probe=header(b"perennial-probe") == b"true",
    )


def _said(answer: Answer, body: bytes) -> Reply:
    version, identity = b"%d" % answer.version, answer.id.encode()
    told = (b"perennial-version", version), (b"perennial-prediction-id", identity)
    return Reply(200, body, (*JSON, *told))


def _model_of(match: re.Match[str]) -> dict[str, Any]:
    version, label = match["version"], match["label"]
    if version and (len(version) > 4000 or int(version) > MAXIMUM_VERSION):
        raise bad_request(f"Failed to convert version: {version[:40]} to numeric.")
    return {
        "model": unquote(match["name"]),
        "version": int(version) if version else None,
        "label": unquote(label) if label else None,
    }


def _failed(failure: Failure) -> Reply:
    after = failure.retry_after_seconds
    more: Headers = ((b"retry-after", b"%d" % after),) if after else ()
    body = _json({"error": failure.message})
    return Reply(failure.status, body, (*JSON, *more), closes=failure.status == 413)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=4).encode()
