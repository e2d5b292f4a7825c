"""Backpropagation with Adam: an epoch is one compiled function, and a kill costs one at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_tasks.core.errors import TrainingError
from pipeline_tasks.learning import network
from pipeline_tasks.learning.checkpoint import Checkpoint, Progress
from pipeline_tasks.settings import Training

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

VALIDATION_ROWS = 4096


@dataclass(frozen=True)
class Examples:
    """Encoded columns and the index of each row's class, as tensors in memory."""

    columns: Mapping[str, tf.Tensor]
    labels: tf.Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])


def fit(
    model: keras.Model,
    training: Examples,
    validation: Examples,
    *,
    settings: Training,
    checkpoint: Checkpoint,
) -> Progress:
    """Train until the epochs are over or the validation loss stops falling; leave the best weights.

    Each epoch ends with a checkpoint, and an existing one is continued: with the same settings the
    weights are those of an unbroken run, since an epoch's order depends on seed and epoch alone.
    Raises TrainingError at the first batch whose loss is not finite.
    """
    import keras
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(model.trainable_variables)
    state = [*_unique(model.variables), *optimizer.variables]
    progress = checkpoint.load(state)
    run_epoch = _epoch_function(model, optimizer, training, settings.batch_size)
    judge = _judge_function(model, validation)
    while not progress.is_over(settings):
        began = time.monotonic()
        epoch = progress.epochs + 1
        training_loss = _checked(run_epoch(_order(len(training), settings.seed, epoch)), epoch)
        validation_loss, accuracy = (float(value) for value in judge())
        progress = progress.after(
            loss=training_loss,
            validation_loss=validation_loss,
            validation_accuracy=accuracy,
            seconds=time.monotonic() - began,
            weights=[variable.numpy() for variable in model.weights],
        )
        checkpoint.save(state, progress)
        where = {"done": progress.epochs, "of": settings.epochs}
        log.info(progress.line(settings), extra=where)
    for variable, best in zip(model.weights, progress.best_weights, strict=True):
        variable.assign(best)
    return progress


def _order(rows: int, seed: int, epoch: int) -> NDArray[np.int32]:
    import numpy as np

    return np.random.default_rng([seed, epoch]).permutation(rows).astype(np.int32)


def _checked(answer: tuple[tf.Tensor, tf.Tensor], epoch: int) -> float:
    mean_loss, bad_batch = float(answer[0]), int(answer[1])
    if bad_batch < 0:
        return mean_loss
    raise TrainingError(
        f"the loss is not finite (NaN or infinity) in epoch {epoch}, batch {bad_batch + 1}",
        expected="a finite loss in every batch",
        fix="lower training.learning_rate, or look for extreme values in the columns",
    )


def _epoch_function(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, examples: Examples, batch_size: int
) -> tf.types.experimental.PolymorphicFunction:
    """A function of the rows' order (int32, (n,)): mean loss, and the first bad batch or -1."""
    import tensorflow as tf

    variables = model.trainable_variables

    def learn(rows: tf.Tensor) -> tf.Tensor:
        columns = {name: tf.gather(values, rows) for name, values in examples.columns.items()}
        with tf.GradientTape() as tape:
            logits = model(columns, training=True)
            loss = network.loss(tf.gather(examples.labels, rows), logits) + sum(model.losses)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def epoch(order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batches = tf.constant((len(examples) + batch_size - 1) // batch_size)
        batch, total, bad = tf.constant(0), tf.constant(0.0), tf.constant(-1)
        while batch < batches and bad < 0:
            loss = learn(order[batch * batch_size : (batch + 1) * batch_size])
            bad = tf.where(tf.math.is_finite(loss), bad, batch)
            total, batch = total + loss, batch + 1
        return total / tf.cast(batches, tf.float32), bad

    return tf.function(epoch, reduce_retracing=True)


def _judge_function(
    model: keras.Model, examples: Examples
) -> tf.types.experimental.PolymorphicFunction:
    """A function of nothing: mean loss (penalties left out) and accuracy."""
    import tensorflow as tf

    total_rows = len(examples)

    def judge() -> tuple[tf.Tensor, tf.Tensor]:
        start, loss, hits = tf.constant(0), tf.constant(0.0), tf.constant(0.0)
        while start < total_rows:
            rows = slice(start, start + VALIDATION_ROWS)
            labels = examples.labels[rows]
            columns = {name: values[rows] for name, values in examples.columns.items()}
            logits = model(columns, training=False)
            count = tf.cast(tf.shape(labels)[0], tf.float32)
            loss += network.loss(labels, logits) * count
            if not labels.dtype.is_floating:
                chosen = tf.argmax(network.probabilities(logits), axis=1)
                hits += tf.reduce_sum(tf.cast(chosen == labels, tf.float32))
            start += VALIDATION_ROWS
        return loss / total_rows, hits / total_rows

    return tf.function(judge)


def _unique(variables: list[keras.Variable]) -> list[keras.Variable]:
    return list({id(variable): variable for variable in variables}.values())
