"""Keep-alive HTTP load of one kind of request, in a process of its own: JSON in, JSON out.

stdin: {"port", "request" (base64 of the whole request), "connections", "seconds"}.
stdout: {"requests" (timed), "answered" (all), "failures", "seconds", "cpu_seconds",
"latencies_ms" (p50, p99, largest)}.
Every connection has one request under way at a time. Only 127.0.0.1 is asked.
"""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import sys
import time

import uvloop

OPENED_AT_ONCE = 200
LONGEST_WAIT_SECONDS = 60


class Load:
    """What all connections share: when counting begins and ends, and what was counted."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.begin = self.end = float("inf")
        self.latencies: list[float] = []
        self.failures = self.open = self.answered = 0
        self.idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Connection(asyncio.Protocol):
    """Sends the request again as soon as its reply is whole."""

    def __init__(self, load: Load) -> None:
        self._load, self._received, self._sent = load, b"", 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._load.open += 1

    def send(self) -> None:
        """The next request."""
        self._sent = time.perf_counter()
        self._transport.write(self._load.request)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self._received.lower().find(b"content-length:", 0, head) + 15
        length = int(self._received[start : self._received.find(b"\r\n", start)])
        if len(self._received) < head + 4 + length:
            return
        is_good = self._received.startswith(b"HTTP/1.1 200")
        self._received = b""
        self._count(is_good)

    def connection_lost(self, error: Exception | None) -> None:
        load = self._load
        load.open -= 1
        if time.perf_counter() < load.end:
            load.failures += 1
        if load.open == 0 and not load.idle.done():
            load.idle.set_result(None)

    def _count(self, is_good: bool) -> None:
        now, load = time.perf_counter(), self._load
        if self._sent >= load.begin and is_good:
            load.latencies.append(now - self._sent)
        load.answered += 1
        load.failures += not is_good
        if now < load.end:
            self.send()
        else:
            self._transport.close()  # type: ignore[union-attr]


async def run(port: int, request: bytes, connections: int, seconds: float) -> dict[str, object]:
    """Open all connections, load the server for a third of the time, then count."""
    loop = asyncio.get_running_loop()
    load = Load(request)
    opened: list[Connection] = []
    while len(opened) < connections:
        count = min(OPENED_AT_ONCE, connections - len(opened))
        made = [
            loop.create_connection(lambda: Connection(load), "127.0.0.1", port)
            for _ in range(count)
        ]
        opened += [protocol for _, protocol in await asyncio.gather(*made)]
    now = time.perf_counter()
    load.begin, load.end = now + seconds / 3, now + seconds / 3 + seconds
    for connection in opened:
        connection.send()
    await asyncio.sleep(seconds / 3)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.wait_for(load.idle, seconds + LONGEST_WAIT_SECONDS)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    found = sorted(load.latencies)
    places = [len(found) // 2, int(0.99 * len(found)), -1]
    return {
        "requests": len(found),
        "answered": load.answered,
        "failures": load.failures,
        "seconds": took,
        "cpu_seconds": cpu,
        "latencies_ms": [round(1000 * found[place], 2) for place in places] if found else [],
    }


def main() -> None:
    """Read what to do, do it, say what was found."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asked = json.load(sys.stdin)
    request = base64.b64decode(asked["request"])
    print(
        json.dumps(uvloop.run(run(asked["port"], request, asked["connections"], asked["seconds"])))
    )


if __name__ == "__main__":
    main()
