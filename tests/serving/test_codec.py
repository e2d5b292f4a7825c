"""JSON to tensors and back: strict, exact, and never a failure of the server's own."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline_tasks.serving.rest import codec, encoding
from pipeline_tasks.serving.rest.app import App
from pipeline_tasks.serving.rest.codec import Input
from pipeline_tasks.serving.rest.exchange import Request
from pipeline_tasks.serving.rest.failures import Failure
from pipeline_tasks.serving.service import Service
from pipeline_tasks.serving.versions.model import Model
from pipeline_tasks.serving.versions.signatures import DEFAULT, Signature
from pipeline_tasks.serving.versions.watched import Versions

TEXT = np.dtype(object)


def decode(document: object, **inputs: Input) -> dict[str, np.ndarray]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return dict(codec.decode(codec.request(body), inputs).arrays)


def one(dtype: str, values: object) -> np.ndarray:
    return decode({"inputs": values}, x=Input(np.dtype(dtype), (None,)))["x"]


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_an_integer_is_taken_in_its_range_and_refused_beyond_it(dtype):
    limits = np.iinfo(dtype)
    found = one(dtype, [limits.min, limits.max])
    assert found.dtype == dtype
    assert found.tolist() == [limits.min, limits.max]
    for wrong in (limits.min - 1, limits.max + 1, 1.0, True, "1", None, [1]):
        with pytest.raises(Failure) as refused:
            one(dtype, [0, wrong])
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("float32", [1, 2.5, -0.0, 10**30], ["1", True, None, {}, [1.0]]),
        ("float64", [1, 2.5, 1e300, 10**30], ["1", True, None, {}, [1.0]]),
        ("bool", [True, False], [1, 0, "true", None]),
        ("object", ["a", "", {"b64": "aGk="}], [1, True, None, {"b64": "!"}, {"b": "a"}, ["a"]]),
    ],
)
def test_each_type_takes_what_is_its_own_and_nothing_that_could_be_made_of_it(dtype, good, bad):
    assert len(one(dtype, good)) == len(good)
    for wrong in bad:
        with pytest.raises(Failure) as refused:
            one(dtype, [good[0], wrong])
        assert refused.value.status == 400


def test_binary_values_are_read_from_base64_and_bytes_outputs_written_so():
    found = one("object", [{"b64": "AP8="}, "é"])
    assert found.tolist() == [b"\x00\xff", "é".encode()]
    outputs = {"image_bytes": found, "text": np.array([b"a", b"b"], dtype=object)}
    assert json.loads(encoding.predictions(outputs, is_by_row=True)) == {
        "predictions": [
            {"image_bytes": {"b64": "AP8="}, "text": "a"},
            {"image_bytes": {"b64": "w6k="}, "text": "b"},
        ]
    }
    with pytest.raises(Failure, match="name it"):
        encoding.predictions({"text": found}, is_by_row=True)


def test_a_number_for_half_precision_cannot_be_said_in_json():
    with pytest.raises(Failure) as refused:
        one("float16", [1.0])
    assert refused.value.status == 501


def test_a_scalar_input_is_taken_by_column():
    assert decode({"inputs": 3.5}, x=Input(np.dtype("float32"), ()))["x"] == np.float32(3.5)


def test_several_inputs_are_objects_with_these_names():
    inputs = {"a": Input(np.dtype("float32"), (None,)), "b": Input(TEXT, (None, 2))}
    rows = [{"a": 1.0, "b": ["x", "y"]}, {"b": ["z", ""], "a": 2.0}]
    found = decode({"instances": rows}, **inputs)
    assert found["a"].tolist() == [1.0, 2.0]
    assert found["b"].tolist() == [[b"x", b"y"], [b"z", b""]]
    for wrong in ([1.0], [{"a": 1.0}], [{"a": 1.0, "b": ["x", "y"], "c": 1}], [rows[0], {"a": 1}]):
        with pytest.raises(Failure):
            decode({"instances": wrong}, **inputs)
    with pytest.raises(Failure, match="same number of rows"):
        decode({"inputs": {"a": [1.0], "b": [["x", "y"]] * 2}}, **inputs)


def test_colons_in_texts_and_spaces_before_them_are_no_key_twice():
    body = b'{"instances" : [{"a":"x\\":y","b" : "\\": \\":"}]}'
    found = decode(body, a=Input(TEXT, (None,)), b=Input(TEXT, (None,)))
    assert found["a"].tolist() == [b'x":y']


VALUES = st.floats(width=32, allow_nan=True, allow_infinity=True)
FLOATS = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=VALUES)


@given(first=FLOATS, is_by_row=st.booleans(), has_second=st.booleans())
def test_floats_come_back_bit_by_bit_nan_and_infinity_too(first, is_by_row, has_second):
    outputs = {"p": first} | ({"q": first[:, 0]} if has_second else {})
    written = json.loads(encoding.predictions(outputs, is_by_row=is_by_row))
    [columns] = written.values()
    for name, expected in outputs.items():
        found = columns
        if has_second:
            found = [row[name] for row in columns] if is_by_row else columns[name]
        np.testing.assert_array_equal(np.array(found, np.float32), expected)


@given(scores=FLOATS)
def test_scores_come_back_with_their_labels(scores):
    labels = np.array([[b'n,null]"' for _ in row] for row in scores], dtype=object)
    content = encoding.classifications({"classes": labels, "scores": scores}, len(scores))
    found = json.loads(content)["results"]
    np.testing.assert_array_equal(
        np.array([[s for _, s in row] for row in found], np.float32), scores
    )
    assert {label for row in found for label, _ in row} == {'n,null]"'}


def test_outputs_that_are_not_rows_can_only_be_asked_by_column():
    outputs = {"loss": np.float32(1.5).reshape(()), "p": np.ones((2, 1), np.float32)}
    assert (
        encoding.predictions(outputs, is_by_row=False)
        == b'{"outputs":{"loss":1.5,"p":[[1.0],[1.0]]}}'
    )
    with pytest.raises(Failure, match="ask with 'inputs'"):
        encoding.predictions(outputs, is_by_row=True)


@pytest.fixture(scope="module")
def post(tmp_path_factory):
    """POST a body to a model with two inputs, in this process."""
    inputs = {"a": Input(np.dtype("float32"), (None,)), "b": Input(TEXT, (None,))}
    signature = Signature(DEFAULT, inputs, lambda found: {"y": found["a"], "z": found["b"]})
    versions = Versions(tmp_path_factory.mktemp("models"))
    versions.adopt(Model("m", 1, "tensorflow", {DEFAULT: signature}, metadata={}))
    service = Service(versions, store=None)
    app = App(service, labels=None)
    with asyncio.Runner() as runner:
        yield lambda verb, body: runner.run(
            app.reply(Request("POST", f"/v1/models/m:{verb}", {}, body))
        )
        service.close()


NAMES = st.sampled_from(["a", "b", "b64", "instances", "inputs", "examples", "signature_name"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
THINGS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
VERBS = st.sampled_from(["predict", "classify", "regress"])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(verb=VERBS, document=THINGS, key=NAMES, is_wrapped=st.booleans())
def test_whatever_json_comes_it_is_answered_or_refused(post, verb, document, key, is_wrapped):
    reply = post(verb, json.dumps({key: document} if is_wrapped else document).encode())
    assert reply.status in (200, 400), reply.body
    json.loads(reply.body)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(verb=VERBS, body=st.binary(max_size=60))
def test_whatever_bytes_come_they_are_answered_or_refused(post, verb, body):
    assert post(verb, body).status == 400
    assert post(verb, b'{"instances":' + body).status == 400
