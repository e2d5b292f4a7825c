"""Backpropagation: an epoch is one compiled function, and a kill costs one at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_tasks.core.errors import TrainingError
from pipeline_tasks.learning import network
from pipeline_tasks.learning.averaging import Average
from pipeline_tasks.learning.checkpoint import Checkpoint, Progress
from pipeline_tasks.learning.optimizers import optimizer_of
from pipeline_tasks.sections.training import Training

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

VALIDATION_ROWS = 4096

Columns = Mapping[str, "tf.Tensor"]


@dataclass(frozen=True)
class Examples:
    """Encoded columns and what is true of each row, as tensors in memory.

    labels: class indices, int64 (n,), or standardised numbers, float32 (n,). weights: float32
    (n,), how much each row counts; None where all count the same. order: the rows of an epoch, some
    of them more than once; None for each of them once. augment: a function of a batch's columns
    and a stateless seed (int32, (2,)) that gives other columns like them.
    """

    columns: Columns
    labels: tf.Tensor
    weights: tf.Tensor | None = None
    order: NDArray[np.int32] | None = None
    augment: Callable[[Columns, tf.Tensor], Columns] | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def rows_an_epoch(self) -> int:
        """How many rows an epoch goes over."""
        return len(self) if self.order is None else len(self.order)


def fit(
    model: keras.Model,
    training: Examples,
    validation: Examples,
    *,
    settings: Training,
    checkpoint: Checkpoint,
    after_epoch: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train until the epochs are over or the validation loss stops falling; leave the best weights.

    An epoch ends with a checkpoint, and an existing one is continued: with the same settings the
    weights are those of an unbroken run, since an epoch's order depends on seed and epoch alone.
    `after_epoch` is told where training stands, and may end it by raising.
    Raises TrainingError at the first batch whose loss is not finite.
    """
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    batch_size = min(settings.batch_size or training.rows_an_epoch, training.rows_an_epoch)
    steps = -(-training.rows_an_epoch // batch_size)
    optimizer = optimizer_of(settings, steps=steps * settings.epochs)
    optimizer.build(model.trainable_variables)
    average = Average(model, settings.averaging)
    state = [*_unique(model.variables), *optimizer.variables, *average.variables]
    progress = checkpoint.load(state)
    run_epoch = _epoch_function(model, optimizer, average, training, settings, batch_size)
    judge = _judge_function(model, validation, settings.smoothing)
    while not progress.is_over(settings):
        began = time.monotonic()
        epoch = progress.epochs + 1
        order = _order(training, settings.seed, epoch)
        training_loss = _checked(run_epoch(tf.constant(order), tf.constant(epoch)), epoch)
        with average.applied():
            validation_loss, score = (float(value) for value in judge())
            weights = [variable.numpy() for variable in model.weights]
        progress = progress.after(
            loss=training_loss,
            validation_loss=validation_loss,
            validation_score=score,
            seconds=time.monotonic() - began,
            weights=weights,
        )
        checkpoint.save(state, progress)
        log.info(progress.line(settings), extra={"done": progress.epochs, "of": settings.epochs})
        if after_epoch:
            after_epoch(progress)
    for variable, best in zip(model.weights, progress.best_weights, strict=True):
        variable.assign(best)
    return progress


def solved(
    model: keras.Model,
    training: Examples,
    validation: Examples,
    solution: Sequence[NDArray[np.floating[Any]]],
) -> Progress:
    """Put an exact solution into the model, and judge it as one epoch."""
    began = time.monotonic()
    for variable, values in zip(model.weights, solution, strict=True):
        variable.assign(values)
    loss, _ = (float(value) for value in _judge_function(model, training)())
    validation_loss, score = (float(value) for value in _judge_function(model, validation)())
    return Progress().after(
        loss=loss,
        validation_loss=validation_loss,
        validation_score=score,
        seconds=time.monotonic() - began,
        weights=[variable.numpy() for variable in model.weights],
    )


def _order(training: Examples, seed: int, epoch: int) -> NDArray[np.int32]:
    """The rows of one epoch."""
    import numpy as np

    shuffled = np.random.default_rng([seed, epoch]).permutation(training.rows_an_epoch)
    order: NDArray[np.int32] = shuffled.astype(np.int32)
    return order if training.order is None else training.order[order]


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
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    average: Average,
    examples: Examples,
    settings: Training,
    batch_size: int,
) -> tf.types.experimental.PolymorphicFunction:
    """A function of the rows' order (int32, (n,)) and the epoch: mean loss, first bad batch or -1.

    Its loop is TensorFlow's own: nothing returns to Python between two batches.
    """
    import tensorflow as tf

    variables = model.trainable_variables
    batches = -(-examples.rows_an_epoch // batch_size)

    def learn(rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        columns: Columns = {name: tf.gather(all_, rows) for name, all_ in examples.columns.items()}
        columns = examples.augment(columns, seed) if examples.augment else columns
        weights = None if examples.weights is None else tf.gather(examples.weights, rows)
        with tf.GradientTape() as tape:
            logits = model(columns, training=True)
            labels = tf.gather(examples.labels, rows)
            loss = network.loss(labels, logits, weights=weights, smoothing=settings.smoothing)
            loss += sum(model.losses)
        optimizer.apply(tape.gradient(loss, variables), variables)
        average.update(optimizer.iterations)
        return loss

    def epoch(order: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def batch_of(batch: tf.Tensor, total: tf.Tensor, bad: tf.Tensor) -> list[tf.Tensor]:
            rows = order[batch * batch_size : (batch + 1) * batch_size]
            loss = learn(rows, tf.stack([settings.seed + number, batch]))
            is_good = tf.math.is_finite(loss)
            return [batch + 1, total + loss, tf.where(is_good, bad, batch)]

        start = [tf.constant(0), tf.constant(0.0), tf.constant(-1)]
        _, total, bad = tf.while_loop(
            lambda batch, _, bad: (batch < batches) & (bad < 0), batch_of, start
        )
        return total / batches, bad

    return tf.function(epoch, autograph=False)


def _judge_function(
    model: keras.Model, examples: Examples, smoothing: float = 0.0
) -> tf.types.experimental.PolymorphicFunction:
    """A function of nothing: mean loss, and accuracy or R2.

    The loss is the one that training makes small, its penalties left out: judged without the
    smoothing or the weights of rows, a model that has learned them would seem to get worse.
    """
    import tensorflow as tf

    rows_total = len(examples)
    is_number = examples.labels.dtype.is_floating

    def part(start: tf.Tensor, loss: tf.Tensor, hits: tf.Tensor) -> list[tf.Tensor]:
        rows = slice(start, start + VALIDATION_ROWS)
        labels = examples.labels[rows]
        logits = model({k: values[rows] for k, values in examples.columns.items()}, training=False)
        weights = None if examples.weights is None else examples.weights[rows]
        mean = network.loss(labels, logits, weights=weights, smoothing=smoothing)
        loss += mean * tf.cast(tf.shape(labels)[0], tf.float32)
        if not is_number:
            chosen = tf.argmax(network.probabilities(logits), axis=1)
            hits += tf.reduce_sum(tf.cast(chosen == labels, tf.float32))
        return [start + VALIDATION_ROWS, loss, hits]

    def judge() -> tuple[tf.Tensor, tf.Tensor]:
        start = [tf.constant(0), tf.constant(0.0), tf.constant(0.0)]
        _, loss, hits = tf.while_loop(lambda at, *_: at < rows_total, part, start)
        if is_number:
            variance = tf.math.reduce_variance(examples.labels)
            return loss / rows_total, 1.0 - loss / rows_total / variance
        weight = rows_total if examples.weights is None else tf.reduce_sum(examples.weights)
        return loss / weight, hits / rows_total

    return tf.function(judge, autograph=False)


def _unique(variables: list[keras.Variable]) -> list[keras.Variable]:
    return list({id(variable): variable for variable in variables}.values())
