"""Swapping versions under load: requests that fail, and the 99th percentile while it happens.

Two exported models of a small pipeline take turns behind our server, each published, loaded beside
the other, asked, and put in the other's place by the steps' own functions. Four clients never stop
asking. A request is of a swap when it was under way between the candidate's arrival and the moment
it had answered alone for a second; every other one is of the steady state.
"""

from __future__ import annotations

import bisect
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from bench.measure import PROJECT, environment, show
from pipeline_tasks import config, loop
from pipeline_tasks.core.store import Store
from pipeline_tasks.release import desired, publishing
from pipeline_tasks.run import Run

SWAPS, CLIENTS, STEADY_SECONDS = 20, 4, 4.0
ROW = {"width": 0.5, "height": 0.25, "colour": "red"}
PIPELINE: dict[str, Any] = {
    "columns": {
        "width": {"type": "number"},
        "height": {"type": "number"},
        "colour": {"type": "category", "values": ["red", "green", "blue"]},
    },
    "label": {"name": "kind", "classes": [0, 1]},
    "model": {"kind": "mlp", "hidden": [32]},
    "training": {"epochs": 3, "batch_size": 64},
    "evaluation": {"bootstrap": 0, "importance": False},
}


class Load:
    """Clients that never stop asking; when each request began and how long it took."""

    def __init__(self, url: str) -> None:
        self.times: list[tuple[float, float]] = []
        self.failures: list[str] = []
        self._url, self._stop = f"{url}/v1/models/small:predict", threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stop.is_set():
                began = time.perf_counter()
                try:
                    reply = client.post(self._url, json={"instances": [ROW]})
                    if reply.status_code != httpx.codes.OK:
                        self.failures.append(reply.text)
                except httpx.TransportError as error:
                    self.failures.append(str(error))
                self.times.append((began, time.perf_counter() - began))


def main() -> None:
    """Train two models, start the server, swap, and show; 3 minutes at most."""
    say = Console(stderr=True).print
    with tempfile.TemporaryDirectory(prefix="swaps-") as name:
        folder = Path(name)
        models = [_exported(folder, epochs) for epochs in (1, 3)]
        url, process = _serve(folder)
        try:
            target = folder / "models" / "small"
            _swap(url, target, models[0])
            with Load(url) as load:
                began = time.perf_counter()
                time.sleep(STEADY_SECONDS)
                swaps = []
                for number in range(SWAPS):
                    start = time.perf_counter()
                    _swap(url, target, models[(number + 1) % 2])
                    answered = time.perf_counter()
                    time.sleep(1)
                    swaps.append((start, answered + 1))
                    say(f"swap {number + 1}: answered alone after {answered - start:.2f} s")
                    time.sleep(1)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
    _show(load, swaps, began)


def _exported(folder: Path, epochs: int) -> Path:
    """A model's exported folder."""
    rows = folder / "rows.csv"
    if not rows.is_file():
        lines = [f"{math.sin(n):.4f},{math.cos(3 * n):.4f},red,{n % 2}" for n in range(400)]
        rows.write_text("\n".join(["width,height,colour,kind", *lines]) + "\n")
    content = PIPELINE | {"source": {"kind": "csv", "path": str(rows)}}
    content["training"] = {"epochs": epochs, "batch_size": 64}
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    run = Run(
        config=config.load(folder / "small.yaml"),
        id=f"epochs {epochs}",
        store=Store(folder / "store"),
        models=folder / "models",
    )
    done = dict(loop.run_steps(run, until="export"))
    return run.open(done["export"])


def _serve(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = ["--port", str(port), "--models", str(folder / "models"), "--store", str(folder / "s")]
    (folder / "models").mkdir(exist_ok=True)
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline_tasks.serving", *words],
            env=environment(PYTHONPATH=f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"),
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    _wait(lambda: httpx.get(f"{url}/livez").status_code == httpx.codes.OK)
    return url, process


def _swap(url: str, target: Path, exported: Path) -> None:
    """What publish and deploy tell a server, and the wait until the new version answers."""
    target.mkdir(exist_ok=True)
    before = desired.read(target).default
    version = publishing.next_version(exported, target)
    beside = desired.beside(before, version) if before else desired.settled(version)
    desired.write(target, beside)
    publishing.publish(exported, target)
    asked = {"json": {"instances": [ROW]}, "headers": {"perennial-probe": "true"}}
    where = f"{url}/v1/models/small"
    _wait(lambda: _post(f"{where}/versions/{version}:predict", asked) == str(version))
    desired.write(target, desired.settled(version))
    _wait(lambda: _post(f"{where}:predict", asked) == str(version))


def _post(url: str, asked: dict[str, Any]) -> str:
    return httpx.post(url, timeout=30, **asked).headers.get("perennial-version", "")


def _wait(is_true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if is_true():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    sys.exit("the server did not answer")


def _show(load: Load, swaps: list[tuple[float, float]], began: float) -> None:
    starts = [start for start, _ in swaps]
    during, steady = [], []
    for at, took in load.times:
        index = bisect.bisect_right(starts, at + took) - 1
        is_swap = index >= 0 and at <= swaps[index][1]
        (during if is_swap else steady).append(took * 1000)
    result = {
        "bench": "swaps",
        "swaps": SWAPS,
        "requests": len(load.times),
        "failed": len(load.failures),
        "requests_per_second": round(len(load.times) / (time.perf_counter() - began)),
        "steady_p50_ms": _quantile(steady, 0.5),
        "steady_p99_ms": _quantile(steady, 0.99),
        "swap_p50_ms": _quantile(during, 0.5),
        "swap_p99_ms": _quantile(during, 0.99),
    }
    rows = {
        "requests that failed": (f"{result['failed']} of {result['requests']}", "0"),
        "steady state, p50 and p99": (
            f"{result['steady_p50_ms']} and {result['steady_p99_ms']} ms",
            "",
        ),
        "during a swap, p50 and p99": (
            f"{result['swap_p50_ms']} and {result['swap_p99_ms']} ms",
            "p99 3 times the steady one at most",
        ),
    }
    show(f"{SWAPS} swaps under load", rows, result)


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0


if __name__ == "__main__":
    main()
