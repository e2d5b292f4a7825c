"""The model server against a plain FastAPI app around the same SavedModel, in one run.

The digits pipeline's network; requests of one row over keep-alive connections, each with one
request under way. Our server on both backends, prediction log included; the peer; and both
backends called in process, without HTTP. CPU is the server's, user and system. Bounded to
127.0.0.1 and to some four minutes. What is said of the load generator: when it is busy all the
time, the server could do more.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.measure import PROJECT, environment
from pipeline_tasks import config, loop
from pipeline_tasks.core.store import Store
from pipeline_tasks.run import Run

SECONDS = 2.0
CONNECTIONS = (1, 8, 64, 1000)
MANY = 10_000
BODY = json.dumps({"instances": [[[float(x * y % 17) for x in range(8)] for y in range(8)]]})
LITERT, TENSORFLOW, PEER = "LiteRT", "TensorFlow", "FastAPI"


@dataclass(frozen=True)
class Measured:
    """One server under one load. latencies_ms: p50, p99, largest; peak_mb: so far."""

    per_second: float
    cpu_us: float
    latencies_ms: Sequence[float]
    failures: int
    generator_busy: float
    peak_mb: float


Found = dict[str, dict[int, Measured]]


def main() -> None:
    """Measure one server after the other; the JSON object is the last line."""
    say = Console(stderr=True).print
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        folder = Path(name)
        exported = _export(folder)
        floors = {one: _floor(exported, one) for one in ("litert", "tensorflow")}
        found: Found = {}
        for server in (LITERT, TENSORFLOW, PEER):
            with _running(server, folder, exported) as (port, process):
                found[server] = {}
                for count in _loads(server, most):
                    found[server][count] = _load(port, process, count)
                    say(f"{server}, {count} connections: {found[server][count]}")
    _show(found, floors)


def _loads(server: str, most_files: int) -> Sequence[int]:
    has_room = server != PEER and most_files > MANY + 200
    return (*CONNECTIONS, MANY) if has_room else CONNECTIONS


def _export(folder: Path) -> Path:
    """A digits model, trained shortly, where our server looks for versions."""
    pipeline = config.named("digits").with_training(epochs=5, patience=0)
    run = Run(config=pipeline, id="bench", store=Store(folder / "store"))
    exported = run.open(dict(loop.run_steps(run, until="export"))["export"])
    version = folder / "models" / "digits" / "1"
    version.parent.mkdir(parents=True)
    exported.rename(version)
    return version


def _floor(exported: Path, backend: str) -> float:
    command = [sys.executable, str(PROJECT / "bench" / "serving_inprocess.py"), str(exported)]
    env = environment(PYTHONPATH=str(PROJECT), TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run(
        [*command, backend], env=env, check=True, capture_output=True, cwd=PROJECT
    )
    return float(done.stdout)


@contextmanager
def _running(server: str, folder: Path, exported: Path) -> Iterator[tuple[int, psutil.Process]]:
    port = _free_port()
    ours = ["-m", "pipeline_tasks.serving", "--models", str(folder / "models"), "--port", str(port)]
    ours += ["--store", str(folder / "observed"), "--backend", server.lower()]
    peer = [str(PROJECT / "bench" / "serving_fastapi.py"), str(exported), str(port)]
    env = environment(PYTHONPATH=str(PROJECT), TF_CPP_MIN_LOG_LEVEL="3")
    with (folder / f"{server}.log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, *(peer if server == PEER else ours)],
            env=env, cwd=PROJECT, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait(port, started, folder / f"{server}.log")
        yield port, psutil.Process(started.pid)
    finally:
        started.kill()
        started.wait()


def _wait(port: int, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while b" 200 " not in _reply(port, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"):
        if started.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the server did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def _reply(port: int, request: bytes) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connected:
            connected.sendall(request)
            return connected.recv(4096).split(b"\r\n")[0]
    except OSError:
        return b""


def _load(port: int, process: psutil.Process, connections: int) -> Measured:
    head = f"POST /v1/models/digits:predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    asked = {
        "port": port,
        "request": base64.b64encode((head + BODY).encode()).decode(),
        "connections": connections,
        "seconds": SECONDS,
    }
    before = _cpu_seconds(process)
    command = [sys.executable, str(PROJECT / "bench" / "load.py")]
    done = subprocess.run(
        command, input=json.dumps(asked), text=True, capture_output=True, check=True
    )
    reply = json.loads(done.stdout)
    return Measured(
        per_second=round(reply["requests"] / reply["seconds"], 1),
        cpu_us=round((_cpu_seconds(process) - before) / max(1, reply["answered"]) * 1e6, 1),
        latencies_ms=reply["latencies_ms"],
        failures=reply["failures"],
        generator_busy=round(reply["cpu_seconds"] / reply["seconds"], 2),
        peak_mb=_peak_mb(process),
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _peak_mb(process: psutil.Process) -> float:
    """The most it ever had in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(peak.split()[1]) / 1024, 1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _show(found: Found, floors: dict[str, float]) -> None:
    table = Table(title="Serving", caption=_ratios(found))
    for title in ("server", "connections", "requests/s", "CPU us", "p50 ms", "p99 ms", "failures",
                  "generator busy", "peak MB"):  # fmt: skip
        table.add_column(title, justify="left" if title == "server" else "right")
    for server, loads in found.items():
        for count, one in loads.items():
            numbers = (one.per_second, one.cpu_us, *one.latencies_ms[:2], one.failures)
            table.add_row(
                server, f"{count:,}", *map(str, numbers), f"{one.generator_busy:.0%}",
                str(one.peak_mb),
            )  # fmt: skip
    for backend, cpu_us in floors.items():
        table.add_row(f"{backend}, in process", "", "", f"{cpu_us:.1f}", "", "", "", "", "")
    Console(width=110).print(table)
    result = {
        "bench": "serving",
        "cores": os.cpu_count(),
        "servers": {
            server: {str(count): vars(one) for count, one in loads.items()}
            for server, loads in found.items()
        },
        "in_process_cpu_us": floors,
    }
    print(json.dumps(result))


def _ratios(found: Found) -> str:
    peer = found[PEER][64]
    lines = []
    for server, aim in ((LITERT, 5), (TENSORFLOW, 2)):
        ours = found[server][64]
        lines.append(
            f"{server} at 64 connections: {ours.per_second / peer.per_second:.1f} x {PEER}'s "
            f"requests a second, {peer.cpu_us / ours.cpu_us:.1f} x less CPU each (aim {aim} x)"
        )
    memory = found[LITERT][64].peak_mb / peer.peak_mb
    lines.append(f"Memory on LiteRT: {memory:.2f} x {PEER}'s (aim 0.2 x)")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
