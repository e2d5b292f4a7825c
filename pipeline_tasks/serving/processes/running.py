"""The server process: the application behind its gate, on a socket that is there already."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from pipeline_tasks.core.store import store_at
from pipeline_tasks.run import home
from pipeline_tasks.serving.access.connections import Connection
from pipeline_tasks.serving.access.gate import Gate
from pipeline_tasks.serving.observed.labels import Labels
from pipeline_tasks.serving.observed.sharing import Sharing
from pipeline_tasks.serving.processes import json_logs
from pipeline_tasks.serving.processes.siblings import Siblings
from pipeline_tasks.serving.rest.app import App
from pipeline_tasks.serving.rest.exchange import Answers
from pipeline_tasks.serving.service import Service
from pipeline_tasks.serving.tokens import Tokens
from pipeline_tasks.serving.versions.model import load
from pipeline_tasks.serving.versions.watched import Versions

if TYPE_CHECKING:
    from pipeline_tasks.serving.grpc_server.serving import GrpcServer

log = logging.getLogger("pipeline_tasks.serving")

BACKLOG = 4096
GARBAGE = 50_000
SWITCH_SECONDS = 0.0005  # the log's thread is not to hold up requests for longer
DRAIN_SECONDS = 10


class Server(uvicorn.Server):
    """uvicorn's, which once a second looks after its connections, and after its supervisor."""

    def __init__(
        self,
        config: uvicorn.Config,
        answers: Answers,
        *,
        grpc: GrpcServer | None,
        sharing: Sharing,
        supervisor: int | None,
    ) -> None:
        super().__init__(config)
        self._answers = answers
        self._grpc, self._sharing, self._supervisor = grpc, sharing, supervisor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """gRPC first, so that no port is open when another cannot be opened."""
        if self._grpc:
            await self._grpc.start()
        await self._answers.start()
        await super().startup(sockets)
        self._sharing.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has arrived, over either protocol, and keep what was logged."""
        if self._grpc:
            await self._grpc.stop(DRAIN_SECONDS)
        await super().shutdown(sockets)
        await self._answers.close()
        await asyncio.to_thread(self._sharing.close)

    async def on_tick(self, counter: int) -> bool:
        """Cut off the slow; end when the supervisor is gone."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.sweep(now)  # type: ignore[union-attr]
        return await super().on_tick(counter) or self._supervisor not in (None, os.getppid())


def run(arguments: argparse.Namespace, listening: socket.socket, tokens: Tokens) -> None:
    """Serve until SIGTERM or SIGINT, then answer what has arrived and end."""
    json_logs.begin("" if arguments.worker is None else str(arguments.worker))
    _allow_many_files()
    if arguments.grpc_port is not None:
        from pipeline_tasks.serving.grpc_server import protos  # noqa: F401  # before TensorFlow
    store = store_at(str(arguments.store), home())
    versions = _versions(arguments)
    service = Service(versions, store, deadline_seconds=arguments.limits.request_seconds)
    app = App(service, Labels(store))
    answers: Answers = (
        Siblings(app, service.versions, arguments.siblings, arguments.worker)
        if arguments.siblings
        else app
    )
    refused = service.metrics.refused
    gate = Gate(answers, limits=arguments.limits, tokens=tokens, refused=refused)
    log.info("serving %s on %s:%s", arguments.models, arguments.host, arguments.port)
    config = uvicorn.Config(
        gate,  # type: ignore[arg-type]  # it is asked by our connections, and is no ASGI application
        http=partial(Connection, gate=gate),  # type: ignore[arg-type]
        interface="asgi3",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        lifespan="off",
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ssl_certfile=arguments.tls_certificate,
        ssl_keyfile=arguments.tls_key,
        server_header=False,
    )
    # Most garbage needs no search. What is imported by now is left out of it for good; models are
    # not, so that one that is let go is found.
    gc.freeze()
    gc.set_threshold(GARBAGE)
    sys.setswitchinterval(SWITCH_SECONDS)
    grpc = _grpc(arguments, service, tokens)
    sharing = Sharing(store, versions)
    server = Server(config, answers, grpc=grpc, sharing=sharing, supervisor=arguments.supervisor)
    server.run(sockets=[listening])


def _versions(arguments: argparse.Namespace) -> Versions:
    loading = partial(load, backend=arguments.backend)
    if isinstance(arguments.models, Path):
        return Versions(arguments.models, load=loading)
    from pipeline_tasks.serving.versions.mirror import Mirror

    mirror = Mirror(arguments.models, home())
    return Versions(mirror.folder, load=loading, mirror=mirror)


def _grpc(arguments: argparse.Namespace, service: Service, tokens: Tokens) -> GrpcServer | None:
    if arguments.grpc_port is None:
        return None
    from pipeline_tasks.serving.grpc_server.serving import GrpcServer

    return GrpcServer(service, arguments, tokens)


def _allow_many_files() -> None:
    """A connection is an open file; the usual 1,024 are too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
