"""One loaded version: its signatures, ready to be called with batches."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import verify_folder
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.serving import graph_scan, saved_model
from pipeline_tasks.serving.codec import Array, Input
from pipeline_tasks.serving.signatures import DEFAULT, Signature

WARM_UP = Path("assets.extra") / "tf_serving_warmup_requests"
MAXIMUM_WARM_UP_REQUESTS = 1000


@dataclass(frozen=True)
class Model:
    """A version that answers, by one signature or more."""

    name: str
    version: int
    signatures: Mapping[str, Signature]
    metadata: dict[str, Any] = field(repr=False)
    loaded: Any = field(repr=False)
    warm_up_seconds: float = 0.0


def load(folder: Path, *, name: str, version: int) -> Model:
    """Check the folder and its graph, load it, and answer its warm-up requests.

    Raises ArtifactError when the folder is not whole or its graph is refused, and TensorFlow's
    errors when it cannot be loaded or called.
    """
    verify_folder(folder)
    written = saved_model.read(folder)
    graph_scan.check(folder, written)
    load_tensorflow()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder), tags=[saved_model.SERVE])
    if not loaded.signatures:
        raise ArtifactError(f"{folder} has no signature", fix="export the model with `export`")
    model = Model(
        name=name,
        version=version,
        signatures={
            key: _signature(key, function, written.signatures[key]["method_name"])
            for key, function in loaded.signatures.items()
        },
        metadata={
            "model_spec": {"name": name, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": {"signature_def": written.signatures}},
        },
        loaded=loaded,
    )
    began = time.perf_counter()
    _warm_up(model, folder / WARM_UP)
    return replace(model, warm_up_seconds=time.perf_counter() - began)


def _signature(name: str, function: Any, method: str) -> Signature:
    import tensorflow as tf

    specs = function.structured_input_signature[1]

    def call(arrays: Mapping[str, Array]) -> dict[str, Array]:
        tensors = {key: tf.constant(arrays[key], spec.dtype) for key, spec in specs.items()}
        return {key: value.numpy() for key, value in function(**tensors).items()}

    return Signature(
        name=name,
        inputs={key: _input(spec) for key, spec in specs.items()},
        call=call,
        outputs={key: _input(spec) for key, spec in sorted(function.structured_outputs.items())},
        method=method,
    )


def _input(spec: Any) -> Input:
    dtype = np.dtype(object) if spec.dtype.name == "string" else spec.dtype.as_numpy_dtype
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return Input(dtype=np.dtype(dtype), shape=shape)


def _warm_up(model: Model, path: Path) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    if not path.is_file():
        return
    for number, record in enumerate(tf.data.TFRecordDataset(str(path))):
        if number == MAXIMUM_WARM_UP_REQUESTS:
            raise ArtifactError(f"{path} holds more than {MAXIMUM_WARM_UP_REQUESTS} requests")
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        signature = model.signatures[request.model_spec.signature_name or DEFAULT]
        signature.call({key: tf.make_ndarray(request.inputs[key]) for key in signature.inputs})
