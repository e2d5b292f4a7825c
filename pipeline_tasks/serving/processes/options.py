"""What the model server can be told on its command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.run import models_at, models_folder, store_uri
from pipeline_tasks.serving.access.gate import Limits
from pipeline_tasks.serving.access.roles import is_loopback
from pipeline_tasks.serving.tokens import OWN, Tokens

TOKENS = "PERENNIAL_SERVER_TOKENS"
PROG = "python -m pipeline_tasks.serving"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, or `words`, with the limits as one value."""
    parser = argparse.ArgumentParser(prog=PROG, description="Run the model server.")
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless told otherwise")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument(
        "--grpc-port", type=int, help="of the gRPC services, which are off without it"
    )
    parser.add_argument(
        "--models", type=models_at, default=models_folder(), help="folder or URI to watch"
    )
    parser.add_argument("--store", default=store_uri(), help="folder or URI, for the log")
    parser.add_argument(
        "--backend",
        choices=("auto", "litert", "tensorflow"),
        default="auto",
        help="what answers; auto: what each model's export has chosen",
    )
    _access(parser.add_argument_group("access"))
    _size(parser.add_argument_group("size"))
    arguments = parser.parse_args(words)
    arguments.limits = Limits(
        requests=arguments.maximum_requests,
        connections=arguments.maximum_connections,
        head_seconds=min(Limits.head_seconds, arguments.request_seconds),
        request_seconds=arguments.request_seconds,
    )
    return arguments


def tokens(arguments: argparse.Namespace) -> Tokens:
    """The tokens clients need. Raises ConfigError when the port would be open to anyone."""
    found = Tokens(arguments.tokens, os.environ.get(OWN, ""))
    try:
        is_private = is_loopback(arguments.host)
    except OSError as error:
        raise ConfigError(f"--host {arguments.host} is no address: {error.strerror}") from None
    if not (found or is_private or arguments.behind_proxy):
        raise ConfigError(
            f"--host {arguments.host} can be reached from other machines, and there are no tokens: "
            "whoever reaches it could ask, tell labels and reload",
            expected=f"--tokens FILE or {TOKENS}, or {OWN} for one token",
            fix="python -m pipeline_tasks.serving.tokens FILE NAME ROLE makes a token; "
            "--behind-proxy if something in front of this port lets nobody else through",
        )
    if bool(arguments.tls_certificate) != bool(arguments.tls_key):
        raise ConfigError("--tls-certificate and --tls-key need each other")
    for path in filter(None, (arguments.tls_certificate, arguments.tls_key)):
        if not os.access(path, os.R_OK):
            raise ConfigError(f"{path} cannot be read", fix="check its name and its owner")
    return found


def _access(group: argparse._ArgumentGroup) -> None:
    path = os.environ.get(TOKENS)
    group.add_argument(
        "--tokens",
        type=Path,
        default=Path(path) if path else None,
        help=f"file of the tokens clients need ({TOKENS}); on loopback none are needed without it",
    )
    group.add_argument(
        "--behind-proxy",
        action="store_true",
        help="listen beyond loopback without tokens: something in front checks who asks",
    )
    group.add_argument("--tls-certificate", type=Path, help="PEM file, with its chain")
    group.add_argument("--tls-key", type=Path, help="PEM file")


def _size(group: argparse._ArgumentGroup) -> None:
    limits = Limits()
    group.add_argument("--workers", type=int, default=1, help="processes that share the port")
    group.add_argument(
        "--maximum-requests",
        type=int,
        default=limits.requests,
        help="that wait for their answer, in each process; more are status 503 at once",
    )
    group.add_argument(
        "--maximum-connections",
        type=int,
        default=limits.connections,
        help="in each process; more are status 503 at once",
    )
    group.add_argument(
        "--request-seconds",
        type=float,
        default=limits.request_seconds,
        help="for a request to arrive (else 408), and again to be answered (else 504)",
    )
    # Of a worker process, as its supervisor starts it.
    group.add_argument("--listening", type=int, help=argparse.SUPPRESS)
    group.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    group.add_argument("--supervisor", type=int, help=argparse.SUPPRESS)
    group.add_argument("--siblings", type=Path, help=argparse.SUPPRESS)
