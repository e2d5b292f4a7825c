"""Run the model server: python -m pipeline_tasks.serving."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

import uvicorn

from pipeline_tasks.core.store import Store
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.run import default_store, models_folder
from pipeline_tasks.serving.app import App
from pipeline_tasks.serving.labels import Labels
from pipeline_tasks.serving.service import Service
from pipeline_tasks.serving.versions import Versions

log = logging.getLogger("pipeline_tasks.serving")

BACKLOG = 4096


def main() -> int:
    """Serve until SIGTERM or SIGINT; 1 when the port is taken."""
    arguments = _arguments()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stdout
    )
    try:
        listening = socket.create_server(
            (arguments.host, arguments.port), backlog=BACKLOG, reuse_port=False
        )
    except OSError as error:
        print(
            f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}. "
            "Choose another port with --port.",
            file=sys.stderr,
        )
        return 1
    load_tensorflow()
    store = Store(arguments.store)
    app = App(Service(Versions(arguments.models), store), Labels(store))
    log.info("serving %s on http://%s:%s", arguments.models, arguments.host, arguments.port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        backlog=BACKLOG,
        timeout_graceful_shutdown=10,
    )
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline_tasks.serving", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless told otherwise")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--models", type=Path, default=models_folder(), help="folder to watch")
    parser.add_argument("--store", type=Path, default=default_store().root, help="for the log")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
