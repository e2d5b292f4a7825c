"""One loaded version: its signature, ready to be called with batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import verify_folder
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.serving.codec import Array, Input
from pipeline_tasks.serving.signatures import DEFAULT as SIGNATURE
from pipeline_tasks.serving.signatures import Signature

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


def load(folder: Path, *, name: str, version: int) -> Model:
    """Check the folder against its manifest, load it, and answer its warm-up requests.

    Raises ArtifactError when the folder is not whole, and TensorFlow's errors when it cannot be
    loaded or called.
    """
    verify_folder(folder)
    load_tensorflow()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder), tags=["serve"])
    if SIGNATURE not in loaded.signatures:
        raise ArtifactError(
            f"{folder} has no signature {SIGNATURE!r}",
            expected=f"one called {SIGNATURE!r}, found {sorted(loaded.signatures)}",
            fix="export the model with `export`",
        )
    function = loaded.signatures[SIGNATURE]
    specs = function.structured_input_signature[1]

    def call(arrays: Mapping[str, Array]) -> dict[str, Array]:
        tensors = {key: tf.constant(arrays[key], spec.dtype) for key, spec in specs.items()}
        return {key: value.numpy() for key, value in function(**tensors).items()}

    signature = Signature(
        name=SIGNATURE,
        inputs={key: _input(spec) for key, spec in specs.items()},
        call=call,
        outputs=tuple(function.structured_outputs),
    )
    model = Model(
        name=name,
        version=version,
        signatures={SIGNATURE: signature},
        metadata=_metadata(name, version, specs, function.structured_outputs),
        loaded=loaded,
    )
    _warm_up(model, folder / WARM_UP)
    return model


def _input(spec: Any) -> Input:
    dtype = np.dtype(object) if spec.dtype.name == "string" else spec.dtype.as_numpy_dtype
    return Input(dtype=np.dtype(dtype), shape=tuple(spec.shape.as_list()))


def _warm_up(model: Model, path: Path) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    if not path.is_file():
        return
    for number, record in enumerate(tf.data.TFRecordDataset(str(path))):
        if number == MAXIMUM_WARM_UP_REQUESTS:
            raise ArtifactError(f"{path} holds more than {MAXIMUM_WARM_UP_REQUESTS} requests")
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        sent = log.predict_log.request.inputs
        signature = model.signatures[SIGNATURE]
        signature.call({key: tf.make_ndarray(sent[key]) for key in signature.inputs})


def _metadata(name: str, version: int, inputs: Any, outputs: Any) -> dict[str, Any]:
    signature = {
        "inputs": {key: _tensor_info(key, spec) for key, spec in inputs.items()},
        "outputs": {key: _tensor_info(key, spec) for key, spec in outputs.items()},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor_info(name: str, spec: Any) -> dict[str, Any]:
    sizes = [-1 if size is None else size for size in spec.shape.as_list()]
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}
    dtype = "DT_" + ("FLOAT" if spec.dtype.name == "float32" else spec.dtype.name.upper())
    return {"dtype": dtype, "tensor_shape": shape, "name": f"{SIGNATURE}_{name}:0"}
