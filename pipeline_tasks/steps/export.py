"""Export: a SavedModel that takes what a client has and answers what a client wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import storages
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Ref
from pipeline_tasks.data import rows
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.monitoring import regime
from pipeline_tasks.release import optimising
from pipeline_tasks.run import Run, step
from pipeline_tasks.sections import variants

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GOLDEN_ROWS = 16
CALIBRATION_ROWS = 256


@step(reads=("columns", "label", "model", "export"))
def export(run: Run, model: Ref, prepared: Ref) -> Ref:
    """Save the model with its encoding inside the graph, its variants, and golden questions.

    Writes the artifact `exported`, which is what a served version's folder holds: a SavedModel
    with the signature `serving_default` (inputs by column name; outputs `label` and
    `probabilities`, or `value`), in variants/ its optimised forms and variants.json, which says how
    they compare and which one is to be served, and in assets.extra tf_serving_warmup_requests and
    golden.json. Raises ConfigError when that variant loses too much.
    """
    load_tensorflow()
    from pipeline_tasks.learning import agreement

    folder = run.open(prepared)
    columns = storages.read(folder, "test")
    columns.pop(rows.LABEL)
    tested = {name: values[: agreement.ROWS] for name, values in columns.items()}
    with run.write("exported") as draft:
        exported = _save(run, model, folder, draft.folder, tested)
        found = optimising.optimise(exported, run.config.export)
        extra = draft.folder / "assets.extra"
        extra.mkdir()
        few = {name: values[:GOLDEN_ROWS] for name, values in tested.items()}
        _write_warm_up(extra, run.config.name, few)
        _write_golden(extra, few, _golden_answers(exported, found.serve, few))
        size = sum(path.stat().st_size for path in draft.folder.rglob("*") if path.is_file())
        draft.summary |= {"bytes": size, "golden_questions": len(next(iter(few.values())))}
        draft.summary |= {"served": found.serve}
        known = {"refit": model.summary.get("reasons")}
        known[regime.LEARNED] = model.summary.get(regime.LEARNED)
        draft.summary |= {key: value for key, value in known.items() if value}
    return draft.done()


def _save(
    run: Run, model: Ref, prepared: Path, folder: Path, tested: rows.Arrays
) -> optimising.Exported:
    """Write the SavedModel, and have the trained model answer the test rows."""
    import tensorflow as tf

    from pipeline_tasks.learning import answering, encoding

    learned: Any = read_json(prepared / "preprocessing.json")
    network_model, answer = answering.trained(run.config, learned, run.open(model))
    module = tf.Module()
    module.variables_of_the_network = list(network_model.weights)
    signature = encoding.signature(run.config)
    functions = {variants.SIGNATURE: answer}
    if "xla" in run.config.export.variants:
        functions[variants.XLA_SIGNATURE] = answering.function(
            run.config, learned, network_model, jit=True
        )
    concrete = {
        name: tf.function(function, autograph=False).get_concrete_function(**signature)
        for name, function in functions.items()
    }
    tf.saved_model.save(module, str(folder), signatures=concrete)
    tensors = {name: tf.constant(values) for name, values in tested.items()}
    return optimising.Exported(
        folder=folder,
        loaded=tf.saved_model.load(str(folder)),
        rows=tested,
        wanted={name: values.numpy() for name, values in answer(**tensors).items()},
        training=lambda: _some(storages.read(prepared, "train")),
    )


def _some(arrays: rows.Arrays) -> rows.Arrays:
    """Rows from all over the training set, to calibrate with."""
    arrays.pop(rows.LABEL)
    step = max(1, len(next(iter(arrays.values()))) // CALIBRATION_ROWS)
    return {name: values[::step][:CALIBRATION_ROWS] for name, values in arrays.items()}


def _golden_answers(
    exported: optimising.Exported, served: str, few: rows.Arrays
) -> Mapping[str, NDArray[np.generic]]:
    """The trained model's answers, or the variant's own where it is known to lose something."""
    if served in ("float16", "int8"):
        return optimising.call_of(exported, served)(few)
    count = len(next(iter(few.values())))
    return {name: values[:count] for name, values in exported.wanted.items()}


def _write_warm_up(folder: Path, name: str, few: rows.Arrays) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, variants.SIGNATURE
    for column, values in few.items():
        request.inputs[column].CopyFrom(tf.make_tensor_proto(tf.constant(values[:1])))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as file:
        file.write(log.SerializeToString())


def _write_golden(
    folder: Path, few: rows.Arrays, answers: Mapping[str, NDArray[np.generic]]
) -> None:
    from pipeline_tasks.learning import answering

    golden = {
        "signature_name": variants.SIGNATURE,
        "instances": answering.instances(few, GOLDEN_ROWS),
        "predictions": _predictions(answers),
    }
    (folder / "golden.json").write_text(json.dumps(golden))


def _predictions(answers: Mapping[str, NDArray[np.generic]]) -> list[Any]:
    """The answers as the server's reply has them by row: a lone output without its name."""
    plain: dict[str, list[Any]] = {name: values.tolist() for name, values in answers.items()}
    if set(plain) == {"value"}:
        return plain["value"]
    return [
        {
            "label": label.decode() if isinstance(label, bytes) else label,
            "probabilities": shares,
        }
        for label, shares in zip(plain["label"], plain["probabilities"], strict=True)
    ]
