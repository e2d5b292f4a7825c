"""The gRPC server: on the same event loop as REST, with its access rules and its limits."""

from __future__ import annotations

import argparse
import logging
from typing import Any

import grpc
from grpc import aio

from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.serving.access import roles
from pipeline_tasks.serving.grpc_server import health
from pipeline_tasks.serving.grpc_server.health import Health
from pipeline_tasks.serving.grpc_server.management import Management
from pipeline_tasks.serving.grpc_server.prediction import Prediction
from pipeline_tasks.serving.grpc_server.protos import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from pipeline_tasks.serving.rest.bodies import MAXIMUM_BYTES
from pipeline_tasks.serving.service import Service
from pipeline_tasks.serving.tokens import Role, Tokens

log = logging.getLogger(__name__)

OPEN = f"/{health.NAME}/"
ROLES: dict[str, Role] = {
    "/tensorflow.serving.PredictionService/": "predict",
    "/tensorflow.serving.ModelService/GetModelStatus": "predict",
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest": "admin",
}
CODES = {401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED}
MAXIMUM_METADATA_BYTES = 32 * 2**10


class GrpcServer:
    """Started and stopped by the server whose Service it shares."""

    def __init__(self, service: Service, arguments: argparse.Namespace, tokens: Tokens) -> None:
        self._service, self._arguments, self._tokens = service, arguments, tokens
        self._health = Health(service)
        self._server: aio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises ConfigError when the port is taken."""
        self._server = aio.server(
            interceptors=[_Guard(self._tokens)] if self._tokens else [],
            options=[
                ("grpc.max_receive_message_length", MAXIMUM_BYTES),
                ("grpc.max_metadata_size", MAXIMUM_METADATA_BYTES),
                ("grpc.so_reuseport", int(self._arguments.workers > 1)),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
            maximum_concurrent_rpcs=self._arguments.limits.requests,
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Prediction(self._service), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            Management(self._service), self._server
        )
        self._server.add_generic_rpc_handlers((self._health.handler(),))
        self._listen(self._server)
        await self._server.start()

    def _listen(self, server: aio.Server) -> None:
        chosen = self._arguments
        host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        address = f"{host}:{chosen.grpc_port}"
        try:
            if chosen.tls_key:
                pair = (chosen.tls_key.read_bytes(), chosen.tls_certificate.read_bytes())
                server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                server.add_insecure_port(address)
        except RuntimeError:
            raise ConfigError(
                f"cannot listen on {address}", fix="choose another port with --grpc-port"
            ) from None
        log.info("serving gRPC on %s", address)

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls; those under way are answered."""
        self._health.stop()
        if self._server:
            await self._server.stop(grace_seconds)


def role_for(method: str) -> Role | None:
    """The role a call needs; None where anybody may call."""
    if method.startswith(OPEN):
        return None
    service = method.rpartition("/")[0] + "/"
    return ROLES.get(method) or ROLES.get(service, roles.OTHERWISE)


class _Guard(aio.ServerInterceptor):  # type: ignore[misc]
    """The same tokens as REST's, in the call's metadata."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def intercept_service(self, continuation: Any, call: Any) -> Any:
        found = dict(call.invocation_metadata or ())
        refusal = roles.refusal(
            self._tokens, role_for(call.method), str(found.get("authorization", ""))
        )
        if refusal is None:
            return await continuation(call)
        code, message = CODES[refusal.status], refusal.message

        async def refuse(_: Any, context: Any) -> None:
            await context.abort(code, message)

        logging.getLogger("pipeline_tasks.serving.access").warning("%s: %s", call.method, code.name)
        return grpc.unary_unary_rpc_method_handler(refuse)
