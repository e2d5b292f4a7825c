"""The network between encoded columns and class probabilities, its weights on disk included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

WEIGHTS = "weights.npz"


def build(config: PipelineConfig, encoded: Mapping[str, tf.Tensor]) -> keras.Model:
    """The pipeline's model family over columns of these shapes; it answers with logits.

    Logits are (n, 1) for two classes, the second one's, and (n, classes) for more; for a number
    they are (n, 1), the standardised number itself.
    """
    import keras

    keras.utils.set_random_seed(config.training.seed)
    inputs = {
        name: keras.Input(shape=tuple(tensor.shape[1:]), name=name)
        for name, tensor in encoded.items()
    }
    family = registry.part("models", config.model.kind)
    params = registry.params("models", config.model.kind, config.model.settings())
    top = family.build(params, inputs)
    width = len(config.label.classes) if config.task == "multiclass" else 1
    logits = keras.layers.Dense(width, name="logits")(top)
    return keras.Model(inputs, logits)


def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of the rows, or mean squared error for numbers.

    labels: class indices, int64 (n,), or standardised numbers, float32 (n,); logits as `build`
    answers them.
    """
    import tensorflow as tf

    if labels.dtype.is_floating:
        return tf.reduce_mean(tf.square(logits[:, 0] - labels))
    if logits.shape[-1] == 1:
        truth = tf.cast(labels, tf.float32)
        each = tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=logits[:, 0])
    else:
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(each)


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Probability of each class, float32 (n, classes)."""
    import tensorflow as tf

    if logits.shape[-1] == 1:
        second = tf.sigmoid(logits)
        return tf.concat([1.0 - second, second], axis=1)
    return tf.nn.softmax(logits)


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
