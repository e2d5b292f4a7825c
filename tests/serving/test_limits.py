"""How much the server takes on: slow senders, large requests, more clients than it can answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections import Counter

import httpx
import psutil
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families

from pipeline_tasks.serving.rest.app import METRICS_PATH
from tests.server import Server
from tests.serving import tiny

PREDICT = "/v1/models/times/versions/1:predict"
SLOW = "/v1/models/slow/versions/1:predict"
BODY = json.dumps({"instances": [2.0]}).encode()
MAXIMUM_REQUESTS = 64


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that waits 3 s for a request and 3 s for its answer, and lets 64 wait."""
    folder = tmp_path_factory.mktemp("limits")
    options = ["--request-seconds", 3, "--maximum-requests", MAXIMUM_REQUESTS]
    server = Server(folder, options=options)
    tiny.publish(server.models, "times", 1, tiny.times(2.0))
    tiny.publish(server.models, "slow", 1, busy)
    server.start()
    server.wait(lambda: server.answers("/v1/models/slow/versions/1"))
    server.wait(lambda: server.post(PREDICT, BODY).status_code == 200)
    server.wait(lambda: server.post(SLOW, BODY).status_code == 200)
    yield server
    server.kill()


def busy(x):
    """x, after about x steps of work."""
    return tf.while_loop(lambda i, _: i < x[0], lambda i, y: (i + 1, y + 1), [0.0, x * 0])[1]


def refusals(server) -> Counter[str]:
    """Connections and requests that the server has refused, by reason."""
    text = httpx.get(server.url + METRICS_PATH, timeout=30).text
    families = text_string_to_metric_families(text)
    [found] = [one for one in families if one.name == "perennial_refusals"]
    return Counter({one.labels["reason"]: int(one.value) for one in found.samples})


def opened(server) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    found.settimeout(30)
    return found


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def head(body_bytes: int, *more: str, path: str = PREDICT) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {body_bytes}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_a_body_that_trickles_in_is_cut_off_and_told_so(server):
    before = refusals(server)
    with opened(server) as connection:
        connection.sendall(head(100))
        for _ in range(3):
            time.sleep(0.5)
            connection.sendall(b" ")
        reply = everything(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"body took more than 3 s" in reply
    assert refusals(server) - before == {"slow": 1}


def test_a_head_that_trickles_in_is_cut_off_and_told_so(server):
    with opened(server) as connection:
        connection.sendall(b"POST /v1/mod")
        reply = everything(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"head took more than 3 s" in reply
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]


def test_a_connection_that_says_nothing_is_closed(server):
    before = refusals(server)
    with opened(server) as connection:
        assert everything(connection) == b""
    assert refusals(server) == before, "it asked for nothing"


def test_who_does_not_read_the_replies_is_cut_off(server):
    before = refusals(server)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(f"GET {METRICS_PATH} HTTP/1.1\r\nhost: x\r\n\r\n".encode() * 3000)
        server.wait(lambda: refusals(server) - before == {"slow": 1})


def test_an_oversize_body_is_refused_before_it_is_sent(server):
    with opened(server) as connection:
        connection.sendall(head(65 * 2**20))
        reply = everything(connection)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"64 MiB" in reply


def test_an_oversize_body_of_unknown_length_is_refused_on_the_way(server):
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    with opened(server) as connection:
        connection.sendall(
            head(0).replace(b"content-length: 0", b"transfer-encoding: chunked") + chunk
        )
        try:
            for _ in range(80):
                connection.sendall(chunk)
        except OSError:
            pass
        else:
            pytest.fail("80 MiB were read")
        assert everything(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("size", [40_000, 2**20])
def test_a_head_that_is_too_large_is_refused(server, size):
    with opened(server) as connection:
        try:
            connection.sendall(b"GET /livez HTTP/1.1\r\nx: " + b"a" * size)
            connection.sendall(b"\r\n\r\n")
        except OSError:
            pass
        reply = everything(connection)
    assert reply.startswith(b"HTTP/1.1 431 ")
    assert b"32 KiB" in reply


def test_a_client_that_waits_to_be_told_to_go_on_is_told(server):
    with opened(server) as connection:
        connection.sendall(head(len(BODY), "expect: 100-continue", "connection: close"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert everything(connection).endswith(b'{"predictions":[4.0]}')


def test_requests_one_after_the_other_in_one_packet_are_all_answered_in_order(server):
    requests = [json.dumps({"instances": [float(number)]}).encode() for number in range(50)]
    with opened(server) as connection:
        connection.sendall(b"".join(head(len(body)) + body for body in requests))
        connection.sendall(head(0, "connection: close", path="/v1/models/nobody:predict"))
        reply = everything(connection)
    answers = [json.loads(part.split(b"HTTP/1.1")[0]) for part in reply.split(b"\r\n\r\n")[1:-1]]
    assert answers == [{"predictions": [2.0 * number]} for number in range(50)]


def test_a_body_in_many_pieces_is_one_body(server):
    body = json.dumps({"instances": [1.0] * 200_000}).encode()
    with opened(server) as connection:
        connection.sendall(head(len(body), "connection: close"))
        for start in range(0, len(body), 100_000):
            connection.sendall(body[start : start + 100_000])
        reply = everything(connection)
    assert len(json.loads(reply.partition(b"\r\n\r\n")[2])["predictions"]) == 200_000


def test_many_gzip_bombs_leave_memory_as_it_was(server):
    bomb = gzip.compress(b" " * (100 * 2**20))
    used = []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(12):
            found = client.post(PREDICT, content=bomb, headers={"content-encoding": "gzip"})
            assert found.status_code == 413
            used.append(memory(server))
    assert used[-1] - used[3] < 200 * 2**20, "what the first ones took is used again"


def test_no_answer_in_time_is_status_504_and_the_server_answers_others(server):
    late = server.post(SLOW, {"instances": [steps_in(server, seconds=9)]})
    assert late.status_code == 504
    assert "no answer" in late.json()["error"]
    assert server.post(PREDICT, BODY).status_code == 200
    # What nobody waits for goes on in its thread; the next test needs that one.
    server.wait(lambda: server.post(SLOW, {"instances": [1.0]}).status_code == 200)


def steps_in(server, *, seconds: float) -> float:
    """How many steps of work take about that long on this machine."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert server.post(SLOW, {"instances": [50_000.0]}).status_code == 200
        took.append(time.monotonic() - began)
    return round(50_000 * seconds / min(took))


async def post(
    client: httpx.AsyncClient, path: str, body: bytes, found: Counter[int], retry: set[str]
) -> None:
    reply = await client.post(path, content=body)
    found[reply.status_code] += 1
    if reply.status_code == 503:
        retry.add(reply.headers["retry-after"])
        assert list(reply.json()) == ["error"]


def test_more_than_can_wait_are_told_at_once_to_come_back(server):
    before, steps = refusals(server), steps_in(server, seconds=1)

    async def burst() -> tuple[Counter[int], set[str], float]:
        found, retry = Counter(), set()
        limits = httpx.Limits(max_connections=400)
        async with httpx.AsyncClient(base_url=server.url, timeout=30, limits=limits) as client:
            work = json.dumps({"instances": [steps]}).encode()
            waiting = [
                asyncio.create_task(post(client, SLOW, work, found, retry))
                for _ in range(MAXIMUM_REQUESTS + 50)
            ]
            while not found[503]:
                await asyncio.sleep(0.01)
            answered_before = found[200]
            await asyncio.gather(*waiting)
            return found, retry, answered_before

    found, retry, answered_before = asyncio.run(burst())
    assert answered_before < MAXIMUM_REQUESTS, "refusals do not wait for those before them"
    assert found[503] >= 1
    assert retry == {"1"}
    assert set(found) <= {200, 503, 504}
    assert refusals(server) - before == {"requests": found[503]}
    assert server.post(PREDICT, BODY).status_code == 200


def memory(server) -> int:
    return psutil.Process(server.pid).memory_info().rss


def test_2000_connections_and_the_slow_among_them_hold_up_nobody(tmp_path):
    server = Server(tmp_path)
    tiny.publish(server.models, "times", 1, tiny.times(2.0))
    server.start()
    server.wait(lambda: server.post(PREDICT, BODY).status_code == 200)
    try:
        before = memory(server)
        slow = [opened(server) for _ in range(500)]
        for number, connection in enumerate(slow):
            connection.sendall(b"POST /v1/mo" if number % 2 else head(1000) + b" ")
        found = asyncio.run(two_thousand(server, slow))
        assert found == {200: 2000}
        assert memory(server) - before < 200 * 2**20
        for connection in slow:
            connection.close()
    finally:
        server.kill()


async def two_thousand(server, slow) -> Counter[int]:
    """Each on a connection of its own, opened before any of them asks; the slow ones go on."""
    connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2000)]
    found: Counter[int] = Counter()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(len(BODY), "connection: close") + BODY)
        reply = await reader.read()
        found[int(reply.split()[1])] += 1
        writer.close()

    async def trickle() -> None:
        for _ in range(3):
            await asyncio.sleep(0.3)
            for connection in slow:
                connection.send(b"x")

    await asyncio.gather(trickle(), *(ask(*pair) for pair in connections))
    return found


def test_more_connections_than_allowed_are_told_so(tmp_path):
    server = Server(tmp_path, options=["--maximum-connections", 20])
    server.start()
    try:
        kept = [opened(server) for _ in range(20)]
        with opened(server) as one_more:
            reply = everything(one_more)
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in reply
        assert b"20 connections already" in reply or b"21 connections already" in reply
        for connection in kept:
            connection.close()
        server.wait(lambda: server.answers("/livez"))
        assert refusals(server)["connections"] >= 1
        assert set(refusals(server)) == {"connections", "requests", "bytes", "slow"}
    finally:
        server.kill()
