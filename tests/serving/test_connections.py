"""What goes over one connection: in order, whole, and ended where nothing can follow."""

from __future__ import annotations

import gzip
import json
import socket

import pytest

from tests.server import Server
from tests.serving import tiny

PREDICT = "/v1/models/times:predict"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("connections"))
    tiny.publish(server.models, "times", 1, tiny.times(2.0))
    server.start()
    server.wait(lambda: server.post(PREDICT, {"instances": [1.0]}).status_code == 200)
    yield server
    server.kill()


def said(server, *parts: bytes) -> bytes:
    """All that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


def asking(number: float, *headers: str, body: bytes | None = None) -> bytes:
    body = json.dumps({"instances": [number]}).encode() if body is None else body
    lines = [f"POST {PREDICT} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


CLOSE = "Connection: close"


def test_a_client_that_offers_another_protocol_is_answered_in_this_one(server):
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    found = said(server, asking(3.0, *upgrade) + asking(5.0, *upgrade), asking(4.0, CLOSE))
    assert found.count(b"HTTP/1.1 200 ") == 3
    assert b'{"predictions":[6.0]}' in found
    assert found.endswith(b'{"predictions":[8.0]}')


def test_a_proxy_it_is_not(server):
    found = said(server, b"CONNECT models:443 HTTP/1.1\r\nHost: models:443\r\n\r\nmore")
    assert found.startswith(b"HTTP/1.1 400 ")


def test_a_proxy_it_is_not_behind_another_request_either(server):
    connect = b"CONNECT models:443 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\nmore"
    found = said(server, asking(3.0) + connect)
    assert found.index(b"HTTP/1.1 200 ") < found.index(b"HTTP/1.1 400 ")
    assert server.answers("/livez")


@pytest.mark.parametrize("target", [b"*", b"http://models", b"//[", b"/%%\x01"])
def test_a_target_that_is_no_path_is_the_clients_mistake(server, target):
    found = said(server, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 4")
    assert "could not be taken" not in server.log()


def test_who_does_not_read_is_not_read_from(server):
    padding = b"X-Padding: " + b"p" * 8192
    request = b"GET /monitoring/prometheus/metrics HTTP/1.1\r\nHost: x\r\n" + padding + b"\r\n\r\n"
    sent = 0
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.settimeout(4)
        with pytest.raises(TimeoutError):
            while sent < 100 * 2**20:
                sent += connection.send(request)
    assert server.answers("/livez")


def test_what_is_not_http_is_told_so_after_the_answers_before_it(server):
    found = said(server, asking(3.0) + b"\x16\x03\x01 this is something else\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b'{"predictions":[6.0]}HTTP/1.1 400 ' in found
    assert b"connection: close" in found


def test_a_refusal_does_not_overtake_the_answer_before_it(server):
    huge = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {2**40}\r\n\r\n".encode()
    found = said(server, asking(3.0) + huge)
    assert found.index(b"HTTP/1.1 200 ") < found.index(b"HTTP/1.1 413 ")


def test_nothing_is_answered_after_a_reply_that_closes(server):
    found = said(server, asking(3.0, CLOSE) + asking(4.0))
    assert found.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in found


def test_the_head_alone_is_what_head_gets(server):
    found = said(server, b"HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert found.endswith(b"\r\n\r\n")
    assert b"content-length: " in found


def test_http_1_0_is_answered_and_closed(server):
    found = said(server, b"GET /livez HTTP/1.0\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.endswith(b"ok\n")


def test_a_request_in_pieces_of_a_byte_is_a_request(server):
    whole = asking(3.0, CLOSE)
    found = said(server, *(whole[at : at + 1] for at in range(len(whole))))
    assert found.endswith(b'{"predictions":[6.0]}')


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b'{"instances": [3.0]}')[:-8] + (20).to_bytes(4, "little"),
        gzip.compress(b'{"instances": [3.0]}') * 2,
        gzip.compress(b'{"instances": [3.0]}')[:-4] + b"\0\0\0\1",
    ],
    ids=["cut short", "twice", "more than it claims"],
)
def test_gzip_that_is_not_one_whole_file_is_refused(server, packed):
    found = said(server, asking(0, CLOSE, "Content-Encoding: gzip", body=packed))
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"not gzip" in found


def test_gzip_is_unpacked(server):
    packed = gzip.compress(b'{"instances": [3.0]}')
    found = said(server, asking(0, CLOSE, "Content-Encoding: gzip", body=packed))
    assert found.endswith(b'{"predictions":[6.0]}')
