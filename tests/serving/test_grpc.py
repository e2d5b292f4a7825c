"""TensorFlow Serving's public gRPC stubs drive the server over a real socket."""

from __future__ import annotations

import shutil
import subprocess
import sys

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from pipeline_tasks.release import desired
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.serving import tokens
from pipeline_tasks.serving.grpc_server import health
from tests.server import Server, environment, free_port, self_made_certificate
from tests.serving import half_plus_two, tiny

HALF = half_plus_two.NAME
LABELS = {"stable": 123, "canary": 124}


class Grpc:
    """A server and the public stubs that talk to it."""

    def __init__(self, folder, *options: object, authority=None, home=None) -> None:
        self.grpc_port = free_port()
        more = ["--grpc-port", self.grpc_port, *options]
        changes = {"PERENNIAL_HOME": str(home)} if home else {}
        self.server = Server(folder, options=more, authority=authority, **changes)
        address = f"127.0.0.1:{self.grpc_port}"
        if authority:
            credentials = grpc.ssl_channel_credentials(authority.read_bytes())
            self.channel = grpc.secure_channel(address, credentials)
        else:
            self.channel = grpc.insecure_channel(address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def health(self, service: str = "", **options) -> int:
        check = self.channel.unary_unary(
            f"/{health.NAME}/Check",
            request_serializer=health.StringValue.SerializeToString,
            response_deserializer=health.Int32Value.FromString,
        )
        return check(health.StringValue(value=service), timeout=10, **options).value


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """half_plus_two in two versions with labels, and one model with text and whole numbers."""
    folder = tmp_path_factory.mktemp("grpc")
    found = Grpc(folder)
    models = found.server.models
    half_plus_two.publish(models, folder / "scratch")
    desired.write(models / HALF, Desired(latest=2, labels=LABELS))
    tiny.publish(models, "slow", 1, slow)
    found.server.start()
    found.server.wait(lambda: found.server.answers(f"/v1/models/{HALF}/labels/canary"))
    found.server.wait(lambda: found.server.answers("/v1/models/slow/versions/1"))
    found.server.wait(lambda: found.server.answers("/readyz"))
    yield found
    found.server.kill()
    shutil.rmtree(folder, ignore_errors=True)


def slow(x):
    """Some seconds of work for a positive x."""
    return tf.while_loop(lambda i, _: i < x[0], lambda i, y: (i + 1, y + 1), [0.0, x])[1]


def predict(x, *, model=HALF, version=None, label=None, signature="", name="x"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    request.inputs[name].CopyFrom(x if hasattr(x, "tensor_shape") else tf.make_tensor_proto(x))
    return request


def floats(values):
    return np.array(values, np.float32)


def add_examples(request, **features):
    for number in range(len(next(iter(features.values())))):
        example = request.input.example_list.examples.add()
        for name, values in features.items():
            example.features.feature[name].float_list.value.append(values[number])
    return request


def refused(call, request, code, message, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=options.pop("timeout", 20), **options)
    assert caught.value.code() == getattr(grpc.StatusCode, code), caught.value.details()
    assert message in caught.value.details()


def test_rest_and_grpc_give_the_same_answer(served):
    reply = served.prediction.Predict(predict(floats([1, 2, 5])), timeout=20)
    by_rest = served.server.post(f"/v1/models/{HALF}:predict", {"instances": [1.0, 2.0, 5.0]})
    assert tf.make_ndarray(reply.outputs["y"]).tolist() == by_rest.json()["predictions"]
    assert list(reply.outputs["y"].float_val) == [2.5, 3.0, 4.5], "where other clients look"
    assert reply.model_spec.name == HALF
    assert reply.model_spec.version.value == 124
    assert reply.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize(
    ("spec", "answered"),
    [({"version": 123}, 123), ({"label": "stable"}, 123), ({"label": "canary"}, 124), ({}, 124)],
)
def test_versions_and_labels_choose_who_answers(served, spec, answered):
    reply, call = served.prediction.Predict.with_call(predict(floats([1]), **spec), timeout=20)
    assert reply.model_spec.version.value == answered
    metadata = dict(call.trailing_metadata())
    assert metadata["perennial-version"] == str(answered)
    assert len(metadata["perennial-prediction-id"]) == 32


def test_a_last_value_is_repeated_and_content_is_read_as_bytes(served):
    tensor = tf.make_tensor_proto(floats([0]))
    tensor.float_val[:] = [3.0, 4.0]
    tensor.tensor_shape.dim[0].size = 4
    reply = served.prediction.Predict(predict(tensor), timeout=20)
    assert list(reply.outputs["y"].float_val) == [3.5, 4.0, 4.0, 4.0]
    tensor = tf.make_tensor_proto(floats([1, 2, 3]))
    assert tensor.tensor_content
    reply = served.prediction.Predict(predict(tensor), timeout=20)
    assert list(reply.outputs["y"].float_val) == [2.5, 3.0, 3.5]


def test_outputs_are_those_of_the_filter(served):
    request = predict(floats([1]))
    request.output_filter.append("y")
    assert list(served.prediction.Predict(request, timeout=20).outputs) == ["y"]
    request.output_filter.append("z")
    refused(served.prediction.Predict, request, "INVALID_ARGUMENT", "alias not found")
    request.output_filter[:] = ["y", "y"]
    refused(served.prediction.Predict, request, "INVALID_ARGUMENT", "duplicate output tensor")


def test_classify_and_regress_answer_as_over_rest(served):
    request = add_examples(classification_pb2.ClassificationRequest(), x=[20.0, 4.0])
    request.model_spec.name, request.model_spec.signature_name = HALF, "classify_x_to_y"
    found = served.prediction.Classify(request, timeout=20).result.classifications
    assert [[(one.label, one.score) for one in row.classes] for row in found] == [
        [("", 12.0)],
        [("", 4.0)],
    ]
    request = add_examples(regression_pb2.RegressionRequest(), x=[80.0])
    request.model_spec.name, request.model_spec.signature_name = HALF, "regress_x_to_y"
    reply = served.prediction.Regress(request, timeout=20)
    assert [one.value for one in reply.result.regressions] == [42.0]
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}
    assert served.server.post(f"/v1/models/{HALF}:regress", body).json() == {"results": [42.0]}


def test_the_features_of_a_context_are_in_every_example(served):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = HALF, "regress_x_to_y"
    sent = request.input.example_list_with_context
    sent.context.features.feature["x"].float_list.value.append(80.0)
    sent.examples.add()
    sent.examples.add().features.feature["x"].float_list.value.append(4.0)
    reply = served.prediction.Regress(request, timeout=20)
    assert [one.value for one in reply.result.regressions] == [42.0, 4.0]


def multi_inference(*tasks):
    request = add_examples(inference_pb2.MultiInferenceRequest(), x=[20.0])
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = model, signature
    return request


def test_several_signatures_are_asked_about_the_same_examples(served):
    request = multi_inference(
        (HALF, "regress_x_to_y", "regress"), (HALF, "classify_x_to_y", "classify")
    )
    first, second = served.prediction.MultiInference(request, timeout=20).results
    assert first.regression_result.regressions[0].value == 12.0
    assert second.classification_result.classifications[0].classes[0].score == 12.0
    task = (HALF, "regress_x_to_y", "regress")
    call = served.prediction.MultiInference
    refused(call, multi_inference(), "INVALID_ARGUMENT", "no tasks")
    refused(call, multi_inference(task, task), "INVALID_ARGUMENT", "Duplicate evaluation")
    refused(call, multi_inference(task, ("slow", "a", "regress")), "INVALID_ARGUMENT", "same model")
    refused(call, multi_inference((HALF, "a", "predict")), "UNIMPLEMENTED", "method_name")


def with_inputs(**tensors):
    request = predict(floats([1]))
    del request.inputs["x"]
    for name, values in tensors.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def broken(**changes):
    request = predict(floats([1, 2]))
    for name, value in changes.items():
        if name == "size":
            request.inputs["x"].tensor_shape.dim[0].size = value
        elif name == "dtype":
            request.inputs["x"].dtype = value
    return request


BAD = {
    "no spec": (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "no name": (predict(floats([1]), model=""), "INVALID_ARGUMENT", "no name"),
    "unknown model": (predict(floats([1]), model="n"), "NOT_FOUND", "Latest(n)"),
    "unknown version": (predict(floats([1]), version=7), "NOT_FOUND", f"Specific({HALF}, 7)"),
    "unknown label": (predict(floats([1]), label="x"), "INVALID_ARGUMENT", "Unrecognized"),
    "unknown signature": (
        predict(floats([1]), signature="s"),
        "INVALID_ARGUMENT",
        '"s" not found in signature def',
    ),
    "wrong type": (predict(np.array([1.0])), "INVALID_ARGUMENT", "float but double is provided"),
    "text": (predict(np.array([b"a"])), "INVALID_ARGUMENT", "float but string is provided"),
    "wrong shape": (predict(floats([[1.0]])), "INVALID_ARGUMENT", "[-1] but got: [1, 1]"),
    "a scalar": (predict(np.float32(1.0)), "INVALID_ARGUMENT", "[-1] but got: []"),
    "other inputs": (with_inputs(z=floats([1])), "INVALID_ARGUMENT", "Sent extra: {z}"),
    "no input": (with_inputs(), "INVALID_ARGUMENT", "Missing but required: {x}"),
    "too few bytes": (broken(size=3), "INVALID_ARGUMENT", "8 bytes are no float32"),
    "terabytes declared": (broken(size=2**40), "INVALID_ARGUMENT", "too large"),
    "a negative size": (broken(size=-1), "INVALID_ARGUMENT", "not fully known"),
    "an unknown type": (broken(dtype=20), "INVALID_ARGUMENT", "DT_RESOURCE"),
}


@pytest.mark.parametrize(("request_", "code", "message"), BAD.values(), ids=BAD)
def test_a_bad_request_has_tensorflow_servings_code(served, request_, code, message):
    refused(served.prediction.Predict, request_, code, message)


def test_an_empty_input_and_a_signature_of_another_kind_are_refused(served):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = HALF, "classify_x_to_y"
    refused(served.prediction.Classify, request, "INVALID_ARGUMENT", "Input is empty")
    request = add_examples(regression_pb2.RegressionRequest(), x=[1.0])
    request.model_spec.name = HALF
    refused(served.prediction.Regress, request, "INVALID_ARGUMENT", "No regress inputs")


def test_a_message_that_is_too_large_is_refused(served):
    request = predict(np.zeros(17 * 2**20, np.float32))
    refused(served.prediction.Predict, request, "RESOURCE_EXHAUSTED", "larger than max")


def test_a_deadline_ends_a_call(served):
    request = predict(floats([3e5]), model="slow")
    refused(served.prediction.Predict, request, "DEADLINE_EXCEEDED", "", timeout=0.3)
    assert served.prediction.Predict(predict(floats([1])), timeout=20)


def test_metadata_is_that_of_rest(served):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = HALF
    call = served.prediction.GetModelMetadata
    refused(call, request, "INVALID_ARGUMENT", "at least one metadata_field")
    request.metadata_field.append("other")
    refused(call, request, "INVALID_ARGUMENT", "Metadata field other is not supported")
    request.metadata_field[:] = ["signature_def"]
    reply = call(request, timeout=20)
    assert reply.model_spec.version.value == 124
    found = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    by_rest = httpx.get(f"{served.server.url}/v1/models/{HALF}/metadata").json()
    assert set(found.signature_def) == set(by_rest["metadata"]["signature_def"]["signature_def"])
    signature = found.signature_def["serving_default"]
    assert signature.inputs["x"].dtype == tf.float32.as_datatype_enum
    assert signature.inputs["x"].tensor_shape.dim[0].size == -1
    assert signature.method_name == "tensorflow/serving/predict"


def states(served, model, version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version:
        request.model_spec.version.value = version
    reply = served.models.GetModelStatus(request, timeout=20)
    names = get_model_status_pb2.ModelVersionStatus.State
    return {one.version: names.Name(one.state) for one in reply.model_version_status}


def test_states_are_those_of_rest(served):
    assert states(served, HALF) == {124: "AVAILABLE", 123: "AVAILABLE"}
    assert states(served, HALF, 123) == {123: "AVAILABLE"}
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "nobody"
    refused(served.models.GetModelStatus, request, "NOT_FOUND", "Could not find any versions")


def reload_request(text):
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return model_management_pb2.ReloadConfigRequest(config=config)


def reload(served, text):
    return served.models.HandleReloadConfigRequest(reload_request(text), timeout=30)


def model_config(name, more="", base_path=None):
    path = f'base_path: "{base_path}"' if base_path else ""
    return f'config {{ name: "{name}" {path} model_platform: "tensorflow" {more} }}'


def configuration(*models):
    return f"model_config_list {{ {' '.join(models)} }}"


def test_a_reload_is_the_entire_desired_state(served):
    before = desired.read(served.server.models / HALF)
    rollback = "model_version_policy { specific { versions: 123 } }"
    labelled = rollback + ' version_labels { key: "stable" value: 123 }'
    path = served.server.models / HALF
    try:
        reply = reload(
            served, configuration(model_config(HALF, labelled, path), model_config("slow"))
        )
        assert reply.status.error_code == 0
        answered = served.prediction.Predict(predict(floats([1])), timeout=20)
        assert answered.model_spec.version.value == 123
        refused(
            served.prediction.Predict,
            predict(floats([1]), label="canary"),
            "INVALID_ARGUMENT",
            "Unrecognized",
        )
        assert desired.read(path) == Desired(
            policy="specific", specific=(123,), labels={"stable": 123}
        )
    finally:
        desired.write(path, before)
        served.server.wait(lambda: served.server.answers(f"/v1/models/{HALF}/labels/canary"))
    served.server.wait(lambda: states(served, HALF)[124] == "AVAILABLE")


REFUSED = {
    "a model left out": (configuration(model_config(HALF)), "leaves out slow"),
    "a model elsewhere": (
        configuration(model_config(HALF, base_path="/elsewhere"), model_config("slow")),
        "base_path of half_plus_two is /elsewhere",
    ),
    "a model that is not there": (
        configuration(model_config(HALF), model_config("slow"), model_config("other")),
        "no model other",
    ),
    "a model twice": (configuration(model_config("slow"), model_config("slow")), "twice"),
    "another platform": (
        configuration('config { name: "slow" model_platform: "torch" }', model_config(HALF)),
        "model_platform torch",
    ),
    "a label of no version": (
        configuration(
            model_config(HALF, 'version_labels { key: "stable" value: 7 }'), model_config("slow")
        ),
        "label stable to version 7",
    ),
    "a label that is none": (
        configuration(
            model_config(HALF, 'version_labels { key: "a/b" value: 123 }'), model_config("slow")
        ),
        "letters, digits and _",
    ),
    "specific without versions": (
        configuration(
            model_config(HALF, "model_version_policy { specific { } }"), model_config("slow")
        ),
        "specific",
    ),
    "no list": ("", "model_config_list"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_a_reload_that_cannot_be_followed_changes_nothing(served, text, why):
    before = desired.read(served.server.models / HALF)
    with pytest.raises(grpc.RpcError) as caught:
        reload(served, text)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert why in caught.value.details()
    assert desired.read(served.server.models / HALF) == before


def test_health_is_that_of_readyz(served):
    assert served.health() == health.SERVING
    assert served.health("tensorflow.serving.PredictionService") == health.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        served.health("nothing")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_change_of_health_is_told_to_who_watches(served):
    watch = served.channel.unary_stream(
        f"/{health.NAME}/Watch",
        request_serializer=health.StringValue.SerializeToString,
        response_deserializer=health.Int32Value.FromString,
    )
    call = watch(health.StringValue(value=""), timeout=20)
    assert next(call).value == health.SERVING
    call.cancel()
    call = watch(health.StringValue(value="nothing"), timeout=20)
    assert next(call).value == health.SERVICE_UNKNOWN
    call.cancel()


def test_calls_are_counted_beside_requests(served):
    served.prediction.Predict(predict(floats([1])), timeout=20)
    text = httpx.get(f"{served.server.url}/monitoring/prometheus/metrics").text
    assert 'entrypoint="GRPC"' in text


def test_every_method_wants_its_role_over_tls(tmp_path):
    path = tmp_path / "tokens.yaml"
    certificate, key = self_made_certificate(tmp_path)
    secrets = {role: tokens.create(path, role, role) for role in tokens.ROLES}
    tls = ["--tls-certificate", certificate, "--tls-key", key]
    found = Grpc(tmp_path, "--tokens", path, *tls, authority=certificate)
    found.server.start()
    try:
        methods = {
            method: needed
            for servicer, stub in (
                (prediction_service_pb2_grpc.PredictionServiceServicer, found.prediction),
                (model_service_pb2_grpc.ModelServiceServicer, found.models),
            )
            for name in vars(servicer)
            if not name.startswith("_")
            for method, needed in [
                (getattr(stub, name), "admin" if "Reload" in name else "predict")
            ]
        }
        assert len(methods) >= 7
        for method, needed in methods.items():
            for role, secret in [(None, None), ("wrong", "wrong"), *secrets.items()]:
                metadata = [("authorization", f"Bearer {secret}")] if secret else []
                with pytest.raises(grpc.RpcError) as caught:
                    request = _empty(method)
                    method(request, timeout=20, metadata=metadata)
                if role not in secrets:
                    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
                elif tokens.ROLES.index(role) < tokens.ROLES.index(needed):
                    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
                else:
                    allowed = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
                    assert caught.value.code() in allowed
        assert found.health() == health.SERVING, "health is for everybody"
    finally:
        found.server.kill()


def _empty(method):
    name = method._method.decode().rpartition("/")[2]
    return {
        "Predict": predict_pb2.PredictRequest,
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
        "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
        "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
    }.get(name, predict_pb2.PredictRequest)()


def test_the_messages_need_no_tensorflow_and_do_not_keep_it_away():
    code = (
        "import sys; from pipeline_tasks.serving.grpc_server import serving;"
        "assert 'tensorflow' not in sys.modules;"
        "import tensorflow as tf; from tensorflow_serving.apis import predict_pb2;"
        "proto = tf.make_tensor_proto([1.0, 2.0]);"
        "from pipeline_tasks.serving.grpc_server import tensors;"
        "assert tensors.array('x', proto).tolist() == [1.0, 2.0]"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, timeout=120)


def test_a_taken_port_is_a_clear_message(served, tmp_path):
    other = Server(tmp_path, options=["--grpc-port", served.grpc_port])
    with pytest.raises(AssertionError, match="choose another port with --grpc-port"):
        other.start()
