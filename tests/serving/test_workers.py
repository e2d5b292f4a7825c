"""Several worker processes on one port: one server to its clients, whichever of them dies."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import httpx
import psutil
import pytest

from tests.server import Server, free_port
from tests.serving import tiny

WORKERS = 2
PREDICT = "/v1/models/times:predict"
METRICS = "/monitoring/prometheus/metrics"
BODY = {"instances": [2.0]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    server = Server(folder, options=["--workers", WORKERS, "--grpc-port", free_port()])
    tiny.publish(server.models, "times", 1, tiny.times(2.0))
    server.start()
    server.wait(lambda: server.answers("/readyz"))
    server.wait(lambda: len(up(server)) == WORKERS)
    yield server
    server.kill()
    for one in workers(server):
        one.kill()


def workers(server) -> list[psutil.Process]:
    return psutil.Process(server.pid).children()


def up(server) -> list[str]:
    """The metrics' own count of processes that have loaded version 1: the sum of their threads."""
    text = httpx.get(server.url + METRICS, timeout=30).text
    return [one for one in workers(server) if one.is_running() and "served_version" in text]


def value(server, start: str) -> float:
    lines = httpx.get(server.url + METRICS, timeout=30).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


def ask(server, count: int = 1) -> list[int]:
    found = []
    for _ in range(count):
        reply = httpx.post(server.url + PREDICT, json=BODY, timeout=30)
        found.append(reply.status_code)
        assert reply.json() == {"predictions": [4.0]}
    return found


def test_every_worker_answers_and_the_metrics_are_their_sum(server):
    name = ':tensorflow:serving:request_count{model_name="times",status="OK"}'
    before, asked_before = value(server, name), requests_by_worker(server)
    assert ask(server, 40) == [200] * 40
    assert value(server, name) == before + 40
    assert sum(requests_by_worker(server).values()) >= sum(asked_before.values())
    assert value(server, 'served_version{model="times"}') == 1
    resident = sum(one.memory_info().rss for one in workers(server))
    assert value(server, "process_resident_memory_bytes") == pytest.approx(resident, rel=0.3)


def requests_by_worker(server) -> dict[int, int]:
    return {one.pid: len(one.net_connections()) for one in workers(server)}


def test_a_version_is_available_once_every_worker_has_it(server):
    tiny.publish(server.models, "times", 2, tiny.times(3.0))
    states = f"{server.url}/v1/models/times"

    def is_available() -> bool:
        found = httpx.get(states, timeout=30).json()["model_version_status"]
        return {one["version"]: one["state"] for one in found}.get("2") == "AVAILABLE"

    try:
        server.wait(is_available)
        replies = [httpx.post(server.url + PREDICT, json=BODY, timeout=30) for _ in range(30)]
        assert {reply.json()["predictions"][0] for reply in replies} == {6.0}
    finally:
        (server.models / "times" / "2").rename(server.models / "times" / ".2")
        server.wait(lambda: httpx.post(server.url + PREDICT, json=BODY).json() == ANSWER)
        server.wait(lambda: all(reply == ANSWER for reply in answers(server, 20)))


ANSWER = {"predictions": [4.0]}


def answers(server, count: int) -> list[dict]:
    return [httpx.post(server.url + PREDICT, json=BODY, timeout=30).json() for _ in range(count)]


class Load:
    """Clients that never stop asking, each request on a connection of its own."""

    def __init__(self, server, clients: int = 4) -> None:
        self.statuses: list[int] = []
        self.broken: list[str] = []
        self.wrong: list[str] = []
        self._server, self._stop = server, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                reply = httpx.post(self._server.url + PREDICT, json=BODY, timeout=30)
            except httpx.TransportError as error:
                self.broken.append(repr(error))
                continue
            self.statuses.append(reply.status_code)
            if reply.status_code != 200 or reply.json() != ANSWER:
                self.wrong.append(reply.text)


def test_a_worker_that_is_killed_under_load_is_replaced_and_its_sibling_goes_on(server):
    with Load(server) as load:
        time.sleep(0.5)
        victim, _ = workers(server)
        victim.kill()
        server.wait(lambda: len(workers(server)) == WORKERS)
        server.wait(lambda: f"worker {number_of(victim, server)} ended" in server.log())
        answered = len(load.statuses)
        server.wait(lambda: len(load.statuses) > answered + 20)
        server.wait(lambda: everyone_is_ready(server))
        answered = len(load.statuses)
        server.wait(lambda: len(load.statuses) > answered + 20)
    assert load.wrong == [], "a replacement answers nothing before it can"
    assert len(load.broken) <= 4, "of each client, at most the request the dead worker had"
    assert victim.pid not in [one.pid for one in workers(server)]


def number_of(victim: psutil.Process, server) -> int:
    lines = [json.loads(line) for line in server.log().splitlines() if line[:1] == "{"]
    [number] = {
        int(line["message"].split()[1]) for line in lines if "ended with status" in line["message"]
    }
    return number


def everyone_is_ready(server) -> bool:
    return len(workers(server)) == WORKERS and server.answers("/readyz")


def test_a_hanging_worker_makes_neither_metrics_nor_readiness_hang(server):
    frozen = workers(server)[0]
    frozen.suspend()
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                text = httpx.get(server.url + METRICS, timeout=10).text
                break
            except httpx.TimeoutException:  # the frozen one had taken the connection
                assert time.monotonic() < deadline
        assert "served_version" in text
    finally:
        frozen.resume()


def test_sigterm_drains_every_worker(tmp_path):
    server = Server(tmp_path, options=["--workers", WORKERS])
    tiny.publish(server.models, "times", 1, tiny.times(2.0))
    server.start()
    server.wait(lambda: server.answers("/readyz"))
    family = workers(server)
    with Load(server) as load:
        server.wait(lambda: len(load.statuses) > 20)
        assert server.stop() == 0
        load._stop.set()
    assert load.wrong == []
    assert not [one for one in family if one.is_running()]
    refused = [one for one in load.broken if "ConnectError" in one or "ConnectionRe" in one]
    assert len(load.broken) - len(refused) <= 4, load.broken


def test_workers_do_not_outlive_a_supervisor_that_is_killed(tmp_path):
    server = Server(tmp_path, options=["--workers", WORKERS])
    server.start()
    family = workers(server)
    os.kill(server.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
