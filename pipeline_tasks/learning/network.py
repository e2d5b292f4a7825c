"""The network between encoded columns and class probabilities, its weights on disk included."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ConfigError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

WEIGHTS = "weights.npz"


def build(
    config: PipelineConfig, encoded: Mapping[str, tf.Tensor], *, for_training: bool = False
) -> keras.Model:
    """The pipeline's model family over columns of these shapes; it answers with logits.

    Logits are (n, 1) for two classes, the second one's, and (n, classes) for more; for a number
    they are (n, 1), the standardised number itself.
    """
    import keras

    keras.utils.set_random_seed(config.training.seed)
    _set_precision(config.training.precision if for_training else "float32")
    inputs = {
        name: keras.Input(shape=tuple(tensor.shape[1:]), name=name)
        for name, tensor in encoded.items()
    }
    family = registry.part("models", config.model.kind)
    params = registry.params("models", config.model.kind, config.model.settings())
    width = len(config.label.classes) if config.task == "multiclass" else 1
    try:
        logits = family.build(params, inputs, width)
    except ValueError as error:
        shapes = ", ".join(f"{name} {tuple(one.shape[1:])}" for name, one in inputs.items())
        raise ConfigError(
            f"model kind {config.model.kind} cannot be built over {shapes}: {error}",
            expected="layers that fit these shapes",
            fix="mend the section `model` of the pipeline file",
        ) from error
    if logits.dtype != "float32":  # in mixed precision; loss and answer are always float32
        logits = keras.layers.Activation("linear", dtype="float32")(logits)
    return keras.Model(inputs, logits)


def _set_precision(precision: str) -> None:
    """Weights stay float32 either way; bfloat16 needs no loss scaling."""
    import keras
    import tensorflow as tf

    is_mixed = precision == "mixed" and bool(tf.config.list_physical_devices("GPU"))
    if precision == "mixed" and not is_mixed:
        log.info("TensorFlow sees no GPU: training stays in float32")
    keras.config.set_dtype_policy("mixed_bfloat16" if is_mixed else "float32")


def views(config: PipelineConfig, columns: dict[str, tf.Tensor]) -> list[dict[str, tf.Tensor]]:
    """The inputs whose answers are averaged: the columns themselves, unless the family has more."""
    family = registry.part("models", config.model.kind)
    if not hasattr(family, "views"):
        return [columns]
    params = registry.params("models", config.model.kind, config.model.settings())
    found: list[dict[str, tf.Tensor]] = family.views(params, columns)
    return found


def loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
    smoothing: float = 0.0,
) -> tf.Tensor:
    """Mean cross-entropy of the rows, or mean squared error for numbers.

    labels: class indices, int64 (n,), or standardised numbers, float32 (n,); logits as `build`
    answers them; weights: float32 (n,); smoothing: the share of a label's certainty that is spread
    over all classes (Szegedy et al., CVPR 2016).
    """
    import tensorflow as tf

    if labels.dtype.is_floating:
        each = tf.square(logits[:, 0] - labels)
    elif logits.shape[-1] == 1:
        truth = tf.cast(labels, tf.float32) * (1.0 - smoothing) + smoothing / 2
        each = tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=logits[:, 0])
    elif smoothing:
        classes = int(logits.shape[-1])
        truth = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
        each = tf.nn.softmax_cross_entropy_with_logits(labels=truth, logits=logits)
    else:
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(each if weights is None else each * weights)


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Probability of each class, float32 (n, classes)."""
    import tensorflow as tf

    if logits.shape[-1] == 1:
        second = tf.sigmoid(logits)
        return tf.concat([1.0 - second, second], axis=1)
    return tf.nn.softmax(logits)


def solution(
    config: PipelineConfig, columns: Mapping[str, tf.Tensor], labels: tf.Tensor
) -> Sequence[NDArray[np.floating[Any]]] | None:
    """The weights of a family that has an exact solution; None for one that learns in epochs."""
    family = registry.part("models", config.model.kind)
    if not hasattr(family, "solve"):
        return None
    params = registry.params("models", config.model.kind, config.model.settings())
    arrays = {name: values.numpy() for name, values in columns.items()}
    found: Sequence[NDArray[np.floating[Any]]] | None = family.solve(params, arrays, labels.numpy())
    return found


def save(model: keras.Model, path: Path) -> None:
    """Keep the trained weights, in the model's own order."""
    import numpy as np

    np.savez(path, *[variable.numpy() for variable in model.weights])


def load(model: keras.Model, path: Path) -> None:
    """Put kept weights back into a model of the same shape."""
    import numpy as np

    with np.load(path, allow_pickle=False) as kept:
        for variable, name in zip(model.weights, kept.files, strict=True):
            variable.assign(kept[name])
