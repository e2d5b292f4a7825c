# ruff: noqa: E501 - one row of the table is one line
"""Every row of TensorFlow Serving's REST contract, over a real socket.

python -m pytest tests/serving/test_conformance.py -s    prints the table as it is run
"""

from __future__ import annotations

import gzip
import json
import shutil
import socket
from dataclasses import dataclass, field

import httpx
import pytest

from pipeline_tasks.release import desired
from pipeline_tasks.release.desired import Desired
from tests.server import Server
from tests.serving import half_plus_two

M = f"/v1/models/{half_plus_two.NAME}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    server = Server(folder)
    half_plus_two.publish(server.models, folder / "scratch")
    labels = {"stable": 123, "canary": 124}
    wanted = Desired(policy="latest", latest=2, labels=labels)
    desired.write(server.models / half_plus_two.NAME, wanted)
    server.start()
    server.wait(
        lambda: server.answers(f"{M}/labels/canary") and server.answers(f"{M}/labels/stable")
    )
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Row:
    """A request, and what TensorFlow Serving answers: status, and JSON or a part of an error."""

    what: str
    method: str
    path: str
    body: bytes
    status: int
    expected: object
    headers: dict[str, str] = field(default_factory=dict)


def post(what: str, path: str, body: object, status: int, expected: object, **headers: str) -> Row:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Row(what, "POST", path, content, status, expected, names)


def get(what: str, path: str, status: int, expected: object) -> Row:
    return Row(what, "GET", path, b"", status, expected)


def regress(signature: str, *examples: object, **more: object) -> dict[str, object]:
    return {"signature_name": signature, "examples": list(examples), **more}


AVAILABLE = [
    {"version": v, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for v in ("124", "123")
]
X = {"instances": [1.0]}
HUGE = "18446744073709551615"
ROWS = [
    # Routes.
    get("no such route", "/v1/foo", 400, "Malformed request: GET /v1/foo"),
    post("no such route", "/v1/foo", {}, 400, "Malformed request: POST /v1/foo"),
    get("no model", "/v1/models", 400, "Missing model name in request"),
    get("too many parts", "/v1/models/debug/model_name", 400, "Malformed request"),
    post("POST without a verb", "/v1/models", {}, 400, "Malformed request"),
    get("GET of a verb", f"{M}:predict", 400, f"Malformed request: GET {M}:predict"),
    post("version, singular", f"{M}/version/50:predict", X, 400, "Malformed request"),
    post("label, singular", f"{M}/label/x:predict", X, 400, "Malformed request"),
    post("version, no number", f"{M}/versions/HELLO:predict", X, 400, "Malformed request"),
    post("version and label", f"{M}/versions/50/labels/x:predict", X, 400, "Malformed request"),
    post("POST of metadata", f"{M}/metadata", {}, 400, "Malformed request"),
    post("no such verb", f"{M}:explain", X, 400, "Malformed request"),
    Row("another method", "PUT", f"{M}:predict", b"{}", 400, "Malformed request: PUT"),
    get("outside of /v1", "/other", 404, "no such path"),
    post("version over int64", f"{M}/versions/{HUGE}:regress", X, 400, "Failed to convert version"),
    post("any case", f"/V1/Models/{half_plus_two.NAME}:PREDICT", X, 200, {"predictions": [2.5]}),
    post("percent-encoded", "/v1/models/half%5Fplus_two:predict", X, 200, {"predictions": [2.5]}),
    post("another's case", "/v1/models/HALF_plus_two:predict", X, 404, "Servable not found"),
    # Who is asked.
    post("no such model", "/v1/models/foo:predict", X, 404, "request: Latest(foo)"),
    post("no such model", "/v1/models/foo/versions/50:predict", X, 404, "Specific(foo, 50)"),
    post("no such version", f"{M}/versions/50:predict", X, 404, "Specific(half_plus_two, 50)"),
    post("version", f"{M}/versions/123:predict", X, 200, {"predictions": [2.5]}),
    post("version, zeros", f"{M}/versions/00000123:predict", X, 200, {"predictions": [2.5]}),
    post("label", f"{M}/labels/stable:predict", X, 200, {"predictions": [2.5]}),
    post("no such label", f"{M}/labels/x:predict", X, 400, "servable version label: x"),
    # Status and metadata.
    get("status", M, 200, {"model_version_status": AVAILABLE}),
    get("status of one", f"{M}/versions/123", 200, {"model_version_status": AVAILABLE[1:]}),
    get("status by label", f"{M}/labels/canary", 200, {"model_version_status": AVAILABLE[:1]}),
    get("status, no model", "/v1/models/m", 404, "Could not find any versions of model m"),
    get("status, no version", f"{M}/versions/99", 404, "version 99 of model half_plus_two"),
    get("status, no label", f"{M}/labels/x", 400, "Unrecognized servable version label: x"),
    get("metadata", f"{M}/metadata", 200, None),
    get("metadata by label", f"{M}/labels/stable/metadata", 200, None),
    get("metadata, no model", "/v1/models/m/metadata", 404, "Servable not found"),
    # Predict.
    post("by row", f"{M}:predict", {"instances": [1.0, 2.0, 5.0]}, 200, {"predictions": [2.5, 3, 4.5]}),
    post("by column", f"{M}:predict", {"inputs": [3.0, 4.0]}, 200, {"outputs": [3.5, 4.0]}),
    post("row, named", f"{M}:predict", {"instances": [{"x": 1}, {"x": 2}]}, 200, {"predictions": [2.5, 3.0]}),
    post("column, named", f"{M}:predict", {"inputs": {"x": [3]}}, 200, {"outputs": [3.5]}),
    post("more columns", f"{M}:predict", {"inputs": {"x": [3], "z": 1}}, 200, {"outputs": [3.5]}),
    post("signature", f"{M}:predict", {**X, "signature_name": "serving_default"}, 200, {"predictions": [2.5]}),
    post("no name", f"{M}:predict", {**X, "signature_name": ""}, 200, {"predictions": [2.5]}),
    post("NaN", f"{M}:predict", b'{"instances":[NaN, Infinity, -Infinity]}', 200,
         b'{"predictions":[NaN,Infinity,-Infinity]}'),
    post("shortest float32", f"{M}:predict", b'{"instances":[0.2, 2, -4]}', 200,
         b'{"predictions":[2.1,3.0,0.0]}'),
    post("first document only", f"{M}:predict", b'{"instances":[1.0]} {"more', 200, {"predictions": [2.5]}),
    post("gzip", f"{M}:predict", gzip.compress(json.dumps(X).encode()), 200, {"predictions": [2.5]},
         content_encoding="gzip"),
    post("no content type", f"{M}:predict", X, 200, {"predictions": [2.5]}, content_type="text/plain"),
    # Regress and classify.
    post("regress", f"{M}:regress", regress("regress_x_to_y", {"x": 80.0}), 200, {"results": [42.0]}),
    post("regress, two", f"{M}:regress", regress("regress_x_to_y2", {"x": 80.0}, {"x": [2.0]}), 200, {"results": [43.0, 4.0]}),
    post("regress x2", f"{M}:regress", regress("regress_x2_to_y3", {"x2": 2.0}), 200, {"results": [4.0]}),
    post("context", f"{M}:regress", regress("regress_x_to_y", {}, {"x": 2.0}, context={"x": 80.0}), 200, {"results": [42.0, 3.0]}),
    post("classify", f"{M}:classify", regress("classify_x_to_y", {"x": 20.0}), 200, {"results": [[["", 12.0]]]}),
    post("classify x2", f"{M}/labels/stable:classify", regress("classify_x2_to_y3", {"x2": 4.0}), 200, {"results": [[["", 5.0]]]}),
    post("NaN score", f"{M}:classify", b'{"signature_name":"classify_x_to_y","examples":[{"x":NaN}]}', 200, b'{"results":[[["",NaN]]]}'),
    post("regress of predict", f"{M}:regress", regress("serving_default", {"x": 1.0}), 400, "regress"),
    post("classify of regress", f"{M}:classify", regress("regress_x_to_y", {"x": 1.0}), 400, "classes"),
    post("no examples", f"{M}:regress", {"signature_name": "regress_x_to_y"}, 400, "'examples'"),
    post("examples no list", f"{M}:regress", {"examples": {}}, 400, "to be an list/array"),
    post("empty examples", f"{M}:regress", {"examples": []}, 400, "value is an empty array"),
    post("example no object", f"{M}:regress", {"examples": [1]}, 400, "Example must be JSON object"),
    post("mixed feature", f"{M}:regress", regress("regress_x_to_y", {"x": [1.0, "a"]}), 400, "Unexpected element type in feature: x"),
    post("null feature", f"{M}:regress", regress("regress_x_to_y", {"x": None}), 400, "Feature: x has element with unexpected JSON type"),
    post("list in a feature", f"{M}:regress", regress("regress_x_to_y", {"x": [[1.0]]}), 400, "unexpected JSON type"),
    post("uint64 feature", f"{M}:regress", regress("regress_x_to_y", {"x": 2**63}), 400, "uint64_t"),
    post("integers for floats", f"{M}:regress", regress("regress_x_to_y", {"x": 80}), 400, "x"),
    # What is refused.
    post("empty body", f"{M}:predict", b"", 400, "JSON Parse error: The document is empty"),
    post("no JSON", f"{M}:predict", b"instances = [1, 2]", 400, "JSON Parse error: Invalid value. at offset: 0"),
    post("no object", f"{M}:predict", b"[1, 2]", 400, "Is not object"),
    post("text for float", f"{M}:predict", {"instances": ["a"]}, 400, "not of expected type: float"),
    post("digits for float", f"{M}:predict", {"instances": ["1"]}, 400, "not of expected type: float"),
    post("true for float", f"{M}:predict", {"instances": [True]}, 400, "not of expected type: float"),
    post("null for float", f"{M}:predict", {"instances": [None]}, 400, "not of expected type: float"),
    post("object for float", f"{M}:predict", {"inputs": {"x": [{"b64": "aa=="}]}}, 400, "not of expected type: float"),
    post("1e999", f"{M}:predict", b'{"instances":[1e999]}', 400, "Number too big to be stored in double"),
    post("signature no text", f"{M}:predict", {"signature_name": 100}, 400, "'signature_name' key must be a string value."),
    post("no such signature", f"{M}:predict", {**X, "signature_name": "x"}, 400, 'Serving signature name: "x" not found in signature def'),
    post("neither key", f"{M}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    post("both keys", f"{M}:predict", {**X, "inputs": [1.0]}, 400, "expecting only one of 'inputs' or 'instances'"),
    post("no rows", f"{M}:predict", {"instances": []}, 400, "No values in 'instances' array"),
    post("rows no list", f"{M}:predict", {"instances": 1.0}, 400, "Expecting 'instances' to be an list/array"),
    post("missing column", f"{M}:predict", {"inputs": {"z": [1.0]}}, 400, "Missing named input: x in 'inputs' object."),
    post("unknown input", f"{M}:predict", {"instances": [{"z": 1.0}]}, 400, "does not have named input: z"),
    post("one input more", f"{M}:predict", {"instances": [{"x": 1.0, "z": 1.0}]}, 400, "does not have named input: z"),
    post("value among objects", f"{M}:predict", {"instances": [{"x": 1.0}, 2.0]}, 400, "Expecting object but got list at item 1"),
    post("object among values", f"{M}:predict", {"instances": [2.0, {"x": 1.0}]}, 400, "Expecting value/list but got object at item 1"),
    post("ragged rows", f"{M}:predict", {"instances": [[1.0], [1.0, 2.0]]}, 400, "Expecting tensor size: 1 but got: 2"),
    post("ragged columns", f"{M}:predict", {"inputs": [[1.0], [1.0, 2.0]]}, 400, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    post("value among lists", f"{M}:predict", {"inputs": [[1.0], 2.0]}, 400, "found at incorrect level"),
    post("too deep", f"{M}:predict", {"instances": [[1.0], [2.0]]}, 400, "Encountered list at unexpected size"),
    post("a key twice", f"{M}:predict", b'{"instances":[1.0],"instances":[2.0]}', 400, "given twice"),
    post("an input twice", f"{M}:predict", b'{"instances":[{"x":1.0,"x":2.0}]}', 400, "given twice"),
    post("not UTF-8", f"{M}:predict", b'{"instances":["\xff"]}', 400, "JSON Parse error"),
    post("5,000 lists", f"{M}:predict", b'{"instances":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "nested too deeply"),
    post("100,000 lists", f"{M}:predict", b'{"instances":' + b"[" * 100_000, 400, "JSON Parse error"),
    post("900 objects", f"{M}:predict", b'{"instances":' + b'[{"x":' * 450 + b"1" + b"}]" * 450 + b"}", 400, "not of expected type: float"),
    post("no gzip", f"{M}:predict", b"text", 400, "not gzip", content_encoding="gzip"),
    Row("CORS", "OPTIONS", f"{M}:predict", b"", 200, b"", {"origin": "https://example.org"}),
    Row("OPTIONS alone", "OPTIONS", f"{M}:predict", b"", 400, "Malformed request"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[f"{n} {row.what}" for n, row in enumerate(ROWS, 1)])
def test_a_row_of_the_contract(server, row):
    reply = ask(server, row)
    print(f"\n{row.status} {row.method} {row.path[:60]}  {row.what}: {shown(reply)}", end="")
    assert reply.status_code == row.status, reply.text
    assert reply.headers["content-type"] == "application/json"
    if isinstance(row.expected, bytes):
        assert reply.content == row.expected
    elif isinstance(row.expected, str):
        assert list(reply.json()) == ["error"]
        assert row.expected in reply.json()["error"]
    elif row.expected is not None:
        assert reply.json() == row.expected


def ask(server: Server, row: Row) -> httpx.Response:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        return client.request(row.method, row.path, content=row.body, headers=row.headers)


def shown(reply: httpx.Response) -> str:
    return " ".join(reply.text.split())[:120]


def test_metadata_has_every_signature_as_it_was_saved(server):
    found = httpx.get(f"{server.url}{M}/metadata").json()
    assert found["model_spec"] == {
        "name": "half_plus_two", "signature_name": "", "version": "124"
    }  # fmt: skip
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert {name: one["method_name"].split("/")[-1] for name, one in signatures.items()} == {
        "__saved_model_init_op": "",
        "serving_default": "predict",
        "regress_x_to_y": "regress",
        "regress_x_to_y2": "regress",
        "regress_x2_to_y3": "regress",
        "classify_x_to_y": "classify",
        "classify_x2_to_y3": "classify",
    }
    assert signatures["serving_default"]["inputs"] == {
        "x": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
            "name": "serving_default_x:0",
        }
    }
    assert signatures["regress_x_to_y"]["inputs"]["inputs"]["dtype"] == "DT_STRING"


def test_an_error_is_printed_as_tensorflow_serving_prints_it(server):
    refused = httpx.get(f"{server.url}/v1/foo")
    assert refused.text == '{\n    "error": "Malformed request: GET /v1/foo"\n}'


def test_a_request_in_pieces_is_answered(server):
    body = json.dumps({"instances": [1.0]}).encode()
    head = f"POST {M}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for piece in (head[:20], head[20:], body[:5], body[5:]):
            connection.sendall(piece)
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
    assert answer.endswith(b'{"predictions":[2.5]}')
