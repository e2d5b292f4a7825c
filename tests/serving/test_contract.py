"""TensorFlow Serving's REST contract: what its clients send and see."""

from __future__ import annotations

import gzip
import json

import httpx
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import ROW

PREDICT = "/v1/models/small:predict"


@pytest.fixture(scope="module")
def server(shared_server):
    return shared_server


def test_rows_come_back_as_rows_and_columns_as_columns(server):
    by_row = server.post(PREDICT, {"instances": [ROW, ROW | {"width": -3.0}]})
    by_column = server.post(
        PREDICT,
        {"inputs": {"width": [0.5, -3.0], "height": [0.25, 0.25], "colour": ["red", "red"]}},
    )
    assert by_row.status_code == by_column.status_code == 200
    rows, columns = by_row.json()["predictions"], by_column.json()["outputs"]
    assert [row["label"] for row in rows] == columns["label"]
    np.testing.assert_allclose([row["probabilities"] for row in rows], columns["probabilities"])
    assert by_row.headers["content-type"] == "application/json"


def test_answers_are_those_of_the_signature_called_directly(server, models):
    signature = tf.saved_model.load(str(models.first)).signatures["serving_default"]
    wanted = signature(
        width=tf.constant([0.5]), height=tf.constant([0.25]), colour=tf.constant(["red"])
    )
    found = server.post(PREDICT, {"instances": [ROW]}).json()["predictions"][0]
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"][0], atol=1e-6)
    assert found["label"] == int(wanted["label"][0])


def test_a_missing_value_is_sent_as_nan(server):
    body = json.dumps({"instances": [ROW | {"height": float("nan")}]}).encode()
    assert b"NaN" in body
    assert server.post(PREDICT, body).status_code == 200


def test_status_and_metadata_are_tensorflow_servings(server):
    status = httpx.get(f"{server.url}/v1/models/small").json()
    assert status == {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    metadata = httpx.get(f"{server.url}/v1/models/small/versions/1/metadata").json()
    assert metadata["model_spec"] == {"name": "small", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert {name: one["dtype"] for name, one in signature["inputs"].items()} == {
        "width": "DT_FLOAT",
        "height": "DT_FLOAT",
        "colour": "DT_STRING",
    }
    assert signature["inputs"]["width"]["tensor_shape"]["dim"][0]["size"] == "-1"


def test_a_version_in_the_path_is_asked_or_not_found(server):
    assert server.post("/v1/models/small/versions/1:predict", {"instances": [ROW]}).is_success
    refused = server.post("/v1/models/small/versions/7:predict", {"instances": [ROW]})
    assert refused.status_code == 404
    assert refused.json() == {"error": "Servable not found for request: Specific(small, 7)"}


def test_gzip_is_understood(server):
    body = gzip.compress(json.dumps({"instances": [ROW]}).encode())
    assert server.post(PREDICT, body, **{"content-encoding": "gzip"}).status_code == 200
    refused = server.post(PREDICT, b"not gzip", **{"content-encoding": "gzip"})
    assert refused.status_code == 400
    bomb = gzip.compress(b" " * (100 * 2**20))
    assert server.post(PREDICT, bomb, **{"content-encoding": "gzip"}).status_code == 413


BAD_BODIES = {
    "nothing": b"",
    "half a document": b'{"instances": [',
    "not UTF-8": b'{"instances": ["\xff\xfe"]}',
    "a list": b"[1, 2]",
    "no rows": b'{"instances": []}',
    "neither key": b'{"rows": []}',
    "both keys": b'{"instances": [1], "inputs": [1]}',
    "deeply nested": b'{"instances": ' + b"[" * 100_000,
    "deeply nested and closed": b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "another signature": b'{"signature_name": "other", "instances": [1]}',
    "a huge number": b'{"instances": [1' + b"0" * 5000 + b"]}",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_malformed_body_is_status_400_with_an_error_and_the_server_lives(server, body):
    refused = server.post(PREDICT, body)
    assert refused.status_code == 400
    assert list(refused.json()) == ["error"]
    assert refused.json()["error"]
    assert server.post(PREDICT, {"instances": [ROW]}).status_code == 200


BAD_ROWS = {
    "a missing input": {"width": 1.0, "height": 1.0},
    "an unknown input": ROW | {"depth": 1.0},
    "text for a number": ROW | {"width": "1.0"},
    "null for a number": ROW | {"width": None},
    "true for a number": ROW | {"width": True},
    "a list for a number": ROW | {"width": [1.0]},
    "a number for text": ROW | {"colour": 3},
}


@pytest.mark.parametrize("row", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_of_the_wrong_kind_is_refused(server, row):
    refused = server.post(PREDICT, {"instances": [row]})
    assert refused.status_code == 400
    assert list(refused.json()) == ["error"]


def test_an_oversized_body_is_refused_at_once(server):
    refused = server.post(PREDICT, b"[" + b" " * (65 * 2**20))
    assert refused.status_code == 413
    assert "64 MiB" in refused.json()["error"]


PATH_TRICKS = [
    "/v1/models/..:predict",
    "/v1/models/%2e%2e%2fsmall:predict",
    "/v1/models/small%2f..%2fsmall:predict",
    "/v1/models/.:predict",
    "/v1/models/%00:predict",
    "/v1/models/nobody:predict",
    "/etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
]


@pytest.mark.parametrize("path", PATH_TRICKS)
def test_a_model_name_with_path_tricks_is_not_found(server, path):
    refused = server.post(path, {"instances": [ROW]})
    assert refused.status_code == 404
    assert list(refused.json()) == ["error"]
    assert "Traceback" not in refused.text


def test_a_version_that_is_no_number_is_refused(server):
    refused = server.post(f"/v1/models/small/versions/{2**70}:predict", {"instances": [ROW]})
    assert refused.status_code == 400
    assert "to numeric" in refused.json()["error"]


def test_metrics_carry_tensorflow_servings_names_and_ours(server):
    server.post(PREDICT, {"instances": [ROW]})
    text = httpx.get(f"{server.url}/monitoring/prometheus/metrics").text
    for start in (
        ':tensorflow:serving:request_count{model_name="small",status="OK"}',
        ':tensorflow:serving:request_latency_bucket{API="predict",entrypoint="REST",le="10",',
        ':tensorflow:serving:runtime_latency_bucket{API="predict",le="10",model_name="small"',
        ':tensorflow:serving:request_example_counts_bucket{le="1",model="small"}',
        ':tensorflow:serving:request_example_count_total{model="small"}',
        ':tensorflow:serving:request_log_count{status="OK"}',
        ':tensorflow:serving:model_warmup_latency{model_path="small/1",status="OK"}',
        ':tensorflow:serving:batching_session:queuing_latency_count{model_name="small"}',
        'perennial_requests_total{model="small",status="OK",version="1"}',
        'perennial_rows_total{model="small",version="1"}',
        'perennial_request_seconds_bucket{le="5e-05",model="small",version="1"}',
        'perennial_request_seconds_sum{model="small",version="1"}',
        'perennial_request_seconds_count{model="small",version="1"}',
        'perennial_nonfinite_rows_total{model="small",version="1"} 0',
        "process_start_time_seconds",
        "process_resident_memory_bytes",
    ):
        assert f"\n{start}" in text, f"{start} is not in\n{text}"
