"""How a server ends: what has arrived is answered, and after a kill nothing stands in the way."""

from __future__ import annotations

import socket
import threading
import time

import grpc
import httpx
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.server import Server, free_port
from tests.serving import tiny

SLOW = "/v1/models/slow:predict"


def busy(x):
    """x, after about x steps of work."""
    return tf.while_loop(lambda i, _: i < x[0], lambda i, y: (i + 1, y + 1), [0.0, x * 0])[1]


def test_sigterm_answers_what_has_arrived_over_both_protocols_and_then_ends(tmp_path):
    port = free_port()
    server = Server(tmp_path, options=["--grpc-port", port])
    tiny.publish(server.models, "slow", 1, busy)
    server.start()
    server.wait(lambda: server.post(SLOW, {"instances": [1.0]}).status_code == 200)
    found: dict[str, object] = {}

    def by_rest() -> None:
        found["rest"] = server.post(SLOW, {"instances": [200_000.0]}).status_code

    def by_grpc() -> None:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "slow"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([200_000.0], np.float32)))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            found["grpc"] = stub.Predict(request, timeout=30).outputs["y"].float_val[0]

    idle = socket.create_connection(("127.0.0.1", server.port))
    threads = [threading.Thread(target=one) for one in (by_rest, by_grpc)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert server.stop() in (0, -15)
    for thread in threads:
        thread.join()
    assert found == {"rest": 200, "grpc": 200_000.0}
    idle.close()


def test_a_server_that_is_killed_under_load_answers_again_when_it_is_started(tmp_path):
    server = Server(tmp_path)
    tiny.publish(server.models, "slow", 1, busy)
    server.start()
    server.wait(lambda: server.answers("/readyz"))
    is_over = threading.Event()
    wrong: list[str] = []

    def ask() -> None:
        while not is_over.is_set():
            try:
                reply = httpx.post(server.url + SLOW, json={"instances": [10.0]}, timeout=30)
            except httpx.TransportError:
                continue
            if reply.status_code not in (200, 404):  # 404 until the model is loaded again
                wrong.append(reply.text)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server.kill()
    server.start()
    server.wait(lambda: server.answers("/readyz"))
    server.wait(lambda: server.post(SLOW, {"instances": [1.0]}).status_code == 200)
    is_over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    server.kill()
