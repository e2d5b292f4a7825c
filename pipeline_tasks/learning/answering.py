"""A trained model from raw values to its answer, before and after export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.data import rows
from pipeline_tasks.learning import encoding, network

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

ROWS_AT_ONCE = 4096


def trained(
    config: PipelineConfig, learned: encoding.Learned, model_folder: Path
) -> tuple[keras.Model, Callable[..., dict[str, tf.Tensor]]]:
    """The network with its trained weights, and a function from raw columns to the answer.

    The answer: `label` (int64 or string, (n,)) and `probabilities` (float32, (n, classes)); for a
    number `value` (float32, (n,)).
    """
    import tensorflow as tf

    specs = encoding.signature(config)
    blank = {name: tf.zeros([1, *spec.shape[1:]], tf.float32) for name, spec in specs.items()}
    blank |= {name: tf.constant([""]) for name, spec in specs.items() if spec.dtype == tf.string}
    model = network.build(config, encoding.encode(blank, config, learned))
    network.load(model, model_folder / network.WEIGHTS)
    return model, function(config, learned, model)


def function(
    config: PipelineConfig, learned: encoding.Learned, model: keras.Model, *, jit: bool = False
) -> Callable[..., dict[str, tf.Tensor]]:
    """The function from raw columns to the answer.

    jit: XLA compiles the network, for each number of rows that it is asked; texts, which it knows
    nothing of, stay outside.
    """
    import tensorflow as tf

    def infer(encoded: dict[str, tf.Tensor]) -> tf.Tensor:
        logits = [model(view, training=False) for view in network.views(config, encoded)]
        if config.task != "regression":
            logits = [network.probabilities(one) for one in logits]
        return tf.add_n(logits) / len(logits)

    network_of = tf.function(infer, jit_compile=True, autograph=False) if jit else infer
    named = _number(learned) if config.task == "regression" else _class(config)

    def answer(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return named(network_of(encoding.encode(raw, config, learned)))

    return answer


def _number(learned: encoding.Learned) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    known: Any = learned[rows.LABEL]
    return lambda mean: {"value": mean[:, 0] * known["scale"] + known["mean"]}


def _class(config: PipelineConfig) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    import tensorflow as tf

    kind = tf.int64 if isinstance(config.label.classes[0], int) else tf.string
    classes = tf.constant(config.label.classes, kind)
    return lambda shares: {
        "label": tf.gather(classes, tf.argmax(shares, axis=1)),
        "probabilities": shares,
    }


def exported(folder: Path) -> tuple[dict[str, tf.TensorSpec], Callable[..., dict[str, tf.Tensor]]]:
    """What an exported SavedModel takes, by name, and the function it serves."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    function = loaded.signatures["serving_default"]
    takes: dict[str, tf.TensorSpec] = function.structured_input_signature[1]

    def answer(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        found: dict[str, tf.Tensor] = function(**raw)
        return found

    answer.keep_alive = loaded  # type: ignore[attr-defined]
    return takes, answer


def shares_or_values(
    answer: Callable[..., dict[str, tf.Tensor]], columns: Mapping[str, NDArray[np.generic]]
) -> NDArray[np.float32]:
    """Probabilities (n, classes), or values (n,), for columns as rows.to_arrays makes them."""
    import numpy as np
    import tensorflow as tf

    total = len(next(iter(columns.values())))
    parts = []
    for start in range(0, total, ROWS_AT_ONCE):
        raw = {
            name: tf.constant(values[start : start + ROWS_AT_ONCE])
            for name, values in columns.items()
        }
        found = answer(**raw)
        parts.append(found["probabilities" if "probabilities" in found else "value"].numpy())
    return np.concatenate(parts)


def instances(columns: Mapping[str, NDArray[np.generic]], count: int) -> list[dict[str, Any]]:
    """The first rows as a client writes them in a request: one object a row."""
    return [
        {name: values[index].tolist() for name, values in columns.items()}
        for index in range(min(count, len(next(iter(columns.values())))))
    ]
