"""grpc.health.v1.Health, with messages of the same wire format from protobuf itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from pipeline_tasks.serving.service import Service

NAME = "grpc.health.v1.Health"
SERVED = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
LOOK_SECONDS = 0.5


class Health:
    """SERVING when /readyz says so. `stop` ends the calls that watch."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_stopping = False

    def handler(self) -> Any:
        """What a gRPC server is given."""
        coded = {
            "request_deserializer": StringValue.FromString,  # HealthCheckRequest.service
            "response_serializer": Int32Value.SerializeToString,  # HealthCheckResponse.status
        }
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check, **coded),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, **coded),
        }
        return grpc.method_handlers_generic_handler(NAME, methods)

    def stop(self) -> None:
        """Say that nothing is served any more."""
        self._is_stopping = True

    async def _check(self, request: Any, context: Any) -> Any:
        if request.value not in SERVED:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return Int32Value(value=self._status(request.value))

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        last = 0
        while last == 0 or not self._is_stopping:
            if (status := self._status(request.value)) != last:
                last = status
                yield Int32Value(value=status)
            await asyncio.sleep(LOOK_SECONDS)

    def _status(self, service: str) -> int:
        if service not in SERVED:
            return SERVICE_UNKNOWN
        is_ready = self._service.versions.is_ready() and not self._is_stopping
        return SERVING if is_ready else NOT_SERVING
