"""Run the model server: python -m pipeline_tasks.serving."""

from __future__ import annotations

import argparse
import socket
import sys

from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.serving.processes import options

BACKLOG = 4096


def main() -> int:
    """Serve until SIGTERM or SIGINT; 1 when the port is taken or must not be opened."""
    try:
        arguments = options.parse()
        tokens = options.tokens(arguments)
        listening = _listen(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.workers > 1 and arguments.worker is None:
        from pipeline_tasks.serving.processes.workers import Workers

        return Workers(arguments.workers, listening).run()
    from pipeline_tasks.serving.processes import running

    try:
        running.run(arguments, listening, tokens)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _listen(arguments: argparse.Namespace) -> socket.socket:
    if arguments.listening is not None:
        return socket.socket(fileno=arguments.listening)
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    try:
        return socket.create_server(
            (arguments.host, arguments.port), family=family, backlog=BACKLOG, reuse_port=False
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}. "
            "Choose another port with --port."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
