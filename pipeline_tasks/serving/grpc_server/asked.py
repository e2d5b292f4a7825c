"""What a gRPC call asks, by its message and its metadata, and how it ends when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import grpc

from pipeline_tasks.serving.asking import Answer, Asked
from pipeline_tasks.serving.grpc_server.protos import model_pb2
from pipeline_tasks.serving.rest.failures import Failure, bad_request

log = logging.getLogger("pipeline_tasks.serving.access")

SLOW_SECONDS = 1.0

Call = Callable[[Any, Any, Any], Awaitable[Any]]


def asked(request: Any, context: Any) -> Asked:
    """Whom a request with a `model_spec` asks. Raises a Failure with status 400."""
    if not request.HasField("model_spec"):
        raise bad_request("Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        raise bad_request("ModelSpec has no name specified.")
    metadata = dict(context.invocation_metadata() or ())
    remaining = context.time_remaining()
    return Asked(
        model=spec.name,
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label if spec.HasField("version_label") else None,
        signature=spec.signature_name,
        key=str(metadata.get("perennial-key", "")),
        is_probe=metadata.get("perennial-probe") == "true",
        deadline=time.monotonic() + remaining if remaining is not None else None,
        entrypoint="GRPC",
    )


def answered(context: Any, answer: Answer, model: str) -> Any:
    """The `model_spec` of a reply; version and prediction id go into its metadata as well."""
    context.set_trailing_metadata(
        (
            ("perennial-version", str(answer.version)),
            ("perennial-prediction-id", answer.id),
        )
    )
    spec = model_pb2.ModelSpec(name=model, signature_name=answer.signature.name)
    spec.version.value = answer.version
    return spec


def answering(call: Call) -> Call:
    """A method whose Failures become gRPC's codes, with a line in the log."""

    @wraps(call)
    async def method(servicer: Any, request: Any, context: Any) -> Any:
        began = time.perf_counter()
        code, message = "OK", ""
        try:
            return await call(servicer, request, context)
        except Failure as failure:
            code, message = failure.code, failure.message
        except Exception as error:
            log.exception("%s failed", call.__name__)
            code, message = "INTERNAL", f"internal error: {type(error).__name__}"
        finally:
            seconds = time.perf_counter() - began
            if code != "OK" or seconds > SLOW_SECONDS:
                extra = {"status": code, "milliseconds": round(seconds * 1000, 1)}
                log.warning("%s: %s", call.__name__, code, extra=extra)
        return await context.abort(grpc.StatusCode[code], message)

    return method
