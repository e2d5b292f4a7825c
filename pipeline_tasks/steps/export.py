"""Export: a SavedModel that takes what a client has and answers what a client wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import rows, storages
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Ref
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.run import Run, step

if TYPE_CHECKING:
    import tensorflow as tf

GOLDEN_ROWS = 16
SIGNATURE = "serving_default"


@step(reads=("columns", "label", "model"))
def export(run: Run, model: Ref, prepared: Ref) -> Ref:
    """Save the model with its encoding inside the graph, a warm-up request and golden questions.

    Writes the artifact `exported`, which is what a served version's folder holds: a SavedModel
    with the signature `serving_default` (inputs by column name; outputs `label` and
    `probabilities`, or `value`) and, in assets.extra, tf_serving_warmup_requests and golden.json.
    """
    load_tensorflow()
    import tensorflow as tf

    from pipeline_tasks.learning import answering, encoding

    folder = run.open(prepared)
    learned: Any = read_json(folder / "preprocessing.json")
    network_model, answer = answering.trained(run.config, learned, run.open(model))
    module = tf.Module()
    module.variables_of_the_network = list(network_model.weights)
    served = tf.function(answer, autograph=False)
    concrete = served.get_concrete_function(**encoding.signature(run.config))
    columns = storages.read(folder, "test")
    columns.pop(rows.LABEL)
    with run.write("exported") as draft:
        tf.saved_model.save(module, str(draft.folder), signatures={SIGNATURE: concrete})
        extra = draft.folder / "assets.extra"
        extra.mkdir()
        few = {name: tf.constant(values[:GOLDEN_ROWS]) for name, values in columns.items()}
        _write_warm_up(extra, run.config.name, few)
        _write_golden(extra, answering.instances(columns, GOLDEN_ROWS), answer(**few))
        size = sum(path.stat().st_size for path in draft.folder.rglob("*") if path.is_file())
        draft.summary |= {"bytes": size, "golden_questions": len(next(iter(few.values())))}
    return draft.done()


def _write_warm_up(folder: Path, name: str, few: dict[str, tf.Tensor]) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, SIGNATURE
    for column, values in few.items():
        request.inputs[column].CopyFrom(tf.make_tensor_proto(values[:1]))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as file:
        file.write(log.SerializeToString())


def _write_golden(
    folder: Path, instances: list[dict[str, Any]], answers: dict[str, tf.Tensor]
) -> None:
    golden = {
        "signature_name": SIGNATURE,
        "instances": instances,
        "predictions": _predictions(answers),
    }
    (folder / "golden.json").write_text(json.dumps(golden))


def _predictions(answers: dict[str, tf.Tensor]) -> list[Any]:
    """The answers as the server's reply has them by row: a lone output without its name."""
    plain = {name: values.numpy().tolist() for name, values in answers.items()}
    if set(plain) == {"value"}:
        values: list[Any] = plain["value"]
        return values
    return [
        {
            "label": label.decode() if isinstance(label, bytes) else label,
            "probabilities": shares,
        }
        for label, shares in zip(plain["label"], plain["probabilities"], strict=True)
    ]
