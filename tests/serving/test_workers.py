"""Several worker processes on one port: one server to its clients, whichever of them dies."""

from __future__ import annotations

import socket
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
    server.wait(lambda: loads(server) == WORKERS)
    server.wait(lambda: server.answers("/readyz"))
    yield server
    server.kill()


def workers(server) -> list[psutil.Process]:
    return psutil.Process(server.pid).children()


def loads(server) -> int:
    """How often a worker has begun to answer with version 1."""
    return server.log().count("times version 1 answers now")


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
    before = value(server, name)
    assert ask(server, 40) == [200] * 40
    assert value(server, name) == before + 40
    assert value(server, 'served_version{model="times"}') == 1
    resident = sum(one.memory_info().rss for one in workers(server))
    assert value(server, "process_resident_memory_bytes") == pytest.approx(resident, rel=0.3)


def test_what_any_worker_refuses_is_counted(server):
    name = 'perennial_refusals_total{reason="slow"}'
    before = value(server, name)
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
    for connection in slow:
        connection.sendall(b"POST /v1/mo")
    server.wait(lambda: value(server, name) == before + len(slow))
    for connection in slow:
        assert connection.recv(12) == b"HTTP/1.1 408"
        connection.close()


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
        self._server, self.stop = server, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self.stop.is_set():
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
        before = loads(server)
        victim.kill()
        server.wait(lambda: loads(server) == before + 1)
        answered = len(load.statuses)
        server.wait(lambda: len(load.statuses) > answered + 20)
    assert "ended with status -9" in server.log()
    assert load.wrong == [], "a replacement answers nothing before it can"
    assert len(load.broken) <= 4, "of each client, at most the request the dead worker had"
    family = [one.pid for one in workers(server)]
    assert len(family) == WORKERS
    assert victim.pid not in family


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


def test_workers_do_not_outlive_a_supervisor_that_is_killed(tmp_path):
    server = Server(tmp_path, options=["--workers", WORKERS])
    server.start()
    family = workers(server)
    server.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_sigterm_drains_every_worker(server):
    """The last test of this file: it ends the server that the others share."""
    family = workers(server)
    with Load(server) as load:
        server.wait(lambda: len(load.statuses) > 20)
        assert server.stop() == 0
        load.stop.set()
    assert load.wrong == []
    assert not [one for one in family if one.is_running()]
    refused = [one for one in load.broken if "ConnectError" in one or "ConnectionRe" in one]
    assert len(load.broken) - len(refused) <= 4, load.broken
