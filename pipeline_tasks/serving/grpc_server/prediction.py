"""tensorflow.serving.PredictionService over the server's one Service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from pipeline_tasks.serving.asking import Answer, Asked
from pipeline_tasks.serving.grpc_server import tensors
from pipeline_tasks.serving.grpc_server.asked import answered, answering, asked
from pipeline_tasks.serving.grpc_server.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from pipeline_tasks.serving.rest import encoding
from pipeline_tasks.serving.rest.codec import Array
from pipeline_tasks.serving.rest.failures import Failure, bad_request
from pipeline_tasks.serving.service import Service

SIGNATURES = "signature_def"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @answering
    async def Predict(self, request: Any, context: Any) -> Any:
        """Outputs of tensors."""
        wanted = asked(request, context)
        answer = await self._service.predict(
            wanted, lambda found: tensors.batch(request.inputs, found)
        )
        outputs = _filtered(answer.outputs, list(request.output_filter))
        return predict_pb2.PredictResponse(
            model_spec=answered(context, answer, wanted.model),
            outputs={name: tensors.proto(values) for name, values in outputs.items()},
        )

    @answering
    async def Classify(self, request: Any, context: Any) -> Any:
        """Labels and scores of examples."""
        wanted = asked(request, context)
        answer = await self._service.classify(wanted, _examples(request.input))
        return classification_pb2.ClassificationResponse(
            model_spec=answered(context, answer, wanted.model), result=_classes(answer)
        )

    @answering
    async def Regress(self, request: Any, context: Any) -> Any:
        """A number for each example."""
        wanted = asked(request, context)
        answer = await self._service.regress(wanted, _examples(request.input))
        return regression_pb2.RegressionResponse(
            model_spec=answered(context, answer, wanted.model), result=_numbers(answer)
        )

    @answering
    async def MultiInference(self, request: Any, context: Any) -> Any:
        """Several classify and regress signatures of one model about the same examples."""
        tasks = [(asked(task, context), task.method_name) for task in request.tasks]
        _check_tasks(tasks)
        examples = _examples(request.input)
        reply = inference_pb2.MultiInferenceResponse()
        for wanted, method in tasks:
            if method == CLASSIFY:
                answer = await self._service.classify(wanted, examples)
                found = {"classification_result": _classes(answer)}
            else:
                answer = await self._service.regress(wanted, examples)
                found = {"regression_result": _numbers(answer)}
            spec = answered(context, answer, wanted.model)
            reply.results.append(inference_pb2.InferenceResult(model_spec=spec, **found))
        return reply

    @answering
    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """The signatures of a version."""
        wanted = asked(request, context)
        if not request.metadata_field:
            raise bad_request("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != SIGNATURES:
                raise bad_request(f"Metadata field {name} is not supported")
        found = self._service.metadata(wanted)
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.model_spec.name = wanted.model
        reply.model_spec.version.value = int(found["model_spec"]["version"])
        signatures = get_model_metadata_pb2.SignatureDefMap()
        json_format.ParseDict(found["metadata"][SIGNATURES], signatures)
        reply.metadata[SIGNATURES].Pack(signatures)
        return reply


def _filtered(outputs: Mapping[str, Array], names: list[str]) -> Mapping[str, Array]:
    if not names:
        return outputs
    for number, name in enumerate(names):
        if name not in outputs:
            raise bad_request(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(sorted(outputs))}}}."
            )
        if name in names[:number]:
            raise bad_request(f"duplicate output tensor alias: {name}")
    return {name: outputs[name] for name in names}


def _examples(sent: Any) -> list[bytes]:
    """The serialized examples of an Input; a context's features are in each of them."""
    kind = sent.WhichOneof("kind")
    examples = list(getattr(sent, kind).examples) if kind else []
    if not examples:
        raise bad_request("Input is empty.")
    context = b""
    if kind == "example_list_with_context":
        context = sent.example_list_with_context.context.SerializeToString()
    # Two messages one after the other are one message; of a feature in both, the later counts.
    return [context + example.SerializeToString() for example in examples]


def _check_tasks(tasks: list[tuple[Asked, str]]) -> None:
    if not tasks:
        raise bad_request("Inference request has no tasks")
    if len({(one.model, one.version, one.label) for one, _ in tasks}) > 1:
        raise bad_request(
            "All ModelSpecs in a MultiInferenceRequest must access the same model and version"
        )
    names = [one.signature or "serving_default" for one, _ in tasks]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise bad_request(f"Duplicate evaluation of signature: {name}")
    for _, method in tasks:
        if method not in (CLASSIFY, REGRESS):
            raise Failure(501, f"Unsupported signature method_name: {method}")


def _classes(answer: Answer) -> Any:
    result = classification_pb2.ClassificationResult()
    labels, scores = encoding.labels_and_scores(answer.outputs, answer.rows)
    for row_labels, row_scores in zip(labels, scores, strict=True):
        one = result.classifications.add()
        for label, score in zip(row_labels, row_scores, strict=True):
            one.classes.add(label=label, score=score)
    return result


def _numbers(answer: Answer) -> Any:
    result = regression_pb2.RegressionResult()
    for value in encoding.numbers(answer.outputs, answer.rows).tolist():
        result.regressions.add(value=value)
    return result
