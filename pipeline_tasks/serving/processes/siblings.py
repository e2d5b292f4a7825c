"""What several worker processes say as one: readiness, versions and metrics.

A version is AVAILABLE when it is in every worker, counts are sums, and a worker takes requests
once it is ready. Workers ask each other over sockets in a folder that only their user can open.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

from pipeline_tasks.serving.processes.merging import merged_metrics, merged_states
from pipeline_tasks.serving.rest.app import METRICS_PATH, STATUS, App
from pipeline_tasks.serving.rest.exchange import JSON, TEXT, Reply, Request
from pipeline_tasks.serving.versions.watched import Versions

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
NO_STATES: dict[str, Any] = {"model_version_status": []}
READY_SECONDS = 60.0
LOOK_SECONDS = 0.05


class Siblings:
    """An application around a worker's own, which answers for all workers where it must."""

    def __init__(self, app: App, versions: Versions, folder: Path, number: int) -> None:
        self._app, self._versions = app, versions
        self._folder, self._number = folder, number
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Take requests only once there is a model to answer them."""
        await self._app.start()
        path = self._folder / f"{self._number}.socket"
        self._server = await asyncio.start_unix_server(self._answer, path)
        deadline = time.monotonic() + READY_SECONDS
        while not self._versions.is_ready() and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Tell the others nothing more."""
        if self._server:
            self._server.close()
        await self._app.close()

    async def reply(self, request: Request) -> Reply:
        """Answer one request, whatever happens."""
        if request.method == "GET" and _is_for_all(request.path):
            status, body = await self._merged(request.path)
            return Reply(status, body, JSON if body[:1] == b"{" else TEXT)
        return await self._app.reply(request)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A sibling's question: one line with the path; the reply's status, and its body."""
        try:
            path = (await reader.readline()).decode("latin-1").rstrip("\n")
            status, body = await self._own(path)
            writer.write(b"%d\n%b" % (status, body))
            await writer.drain()
        except OSError:
            pass  # who asked has gone
        finally:
            writer.close()

    async def _own(self, path: str) -> tuple[int, bytes]:
        reply = await self._app.reply(Request("GET", path, {}, b""))
        return reply.status, reply.body

    async def _merged(self, path: str) -> tuple[int, bytes]:
        replies = await asyncio.gather(*(self._ask(one, path) for one in self._siblings()))
        found = [reply for reply in replies if reply]
        if path == METRICS_PATH:
            return 200, merged_metrics([body for _, body in found])
        if path == "/readyz":
            return next((r for r in found if r[0] != 200), (200, b"ok\n"))
        if all(status != 200 for status, _ in found):
            return found[0]
        states = [json.loads(body) if status == 200 else NO_STATES for status, body in found]
        return 200, json.dumps(merged_states(states), indent=4).encode()

    def _siblings(self) -> list[Path]:
        return sorted(self._folder.glob("*.socket"))

    async def _ask(self, socket: Path, path: str) -> tuple[int, bytes] | None:
        """What one worker says; None from one that has died or hangs."""
        if socket.stem == str(self._number):
            return await self._own(path)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(socket)
                writer.write(path.encode("latin-1") + b"\n")
                said, _, body = (await reader.read(-1)).partition(b"\n")
                writer.close()
                return int(said), body
        except (OSError, TimeoutError, ValueError) as error:
            log.warning("worker %s does not answer: %r", socket.stem, error)
            return None


def _is_for_all(path: str) -> bool:
    if path in ("/readyz", METRICS_PATH):
        return True
    status = STATUS.fullmatch(path)
    return bool(status and status["name"] and not status["metadata"])
