"""One training from rows to weights: what `train` does, and `refit` with more rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_tasks.core.errors import TrainingError
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Ref
from pipeline_tasks.data import rows
from pipeline_tasks.learning import examples, fitting, network, warm_start
from pipeline_tasks.learning.checkpoint import Checkpoint, Progress
from pipeline_tasks.learning.fitting import Examples
from pipeline_tasks.run import Run
from pipeline_tasks.sections.training import Training

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lesson:
    """What is learned, and from where on.

    training, validation: as rows.to_arrays makes them, encoded as `prepared` says. start: whose
    weights to begin with; None for random ones.
    """

    prepared: Ref
    training: rows.Arrays
    validation: rows.Arrays
    start: warm_start.Start | None = None


@dataclass(frozen=True)
class Learned:
    """A trained model. start: whose weights it began with, if it did not begin afresh."""

    model: keras.Model
    progress: Progress
    start: warm_start.Start | None


def learn(run: Run, lesson: Lesson, checkpoint: Checkpoint) -> Learned:
    """Fit, from the checkpoint on if there is one; exactly where the family has a solution.

    Raises TrainingError when the loss is not finite, or memory is too small for half a batch.
    """
    known: Any = read_json(run.open(lesson.prepared) / "preprocessing.json")
    training = examples.of(run.config, known, lesson.training, "train")
    validation = examples.of(run.config, known, lesson.validation, "validation")
    model = network.build(run.config, training.columns, for_training=True)
    solution = network.solution(run.config, training.columns, training.labels)
    if solution is not None:
        return Learned(model, fitting.solved(model, training, validation, solution), None)
    start = _started(run, lesson.start, model, known)
    return Learned(model, _fit(run.config.training, model, training, validation, checkpoint), start)


def checkpoint_of(run: Run) -> Checkpoint:
    """Where the step's own training stands; a retry of the same step goes on there."""
    return Checkpoint(run.store.scratch(run.config.name, run.id, run.step), run.fingerprint)


def _fit(
    settings: Training,
    model: keras.Model,
    training: Examples,
    validation: Examples,
    checkpoint: Checkpoint,
) -> Progress:
    """Fit; when memory runs out, once more with half the batch."""
    import tensorflow as tf

    try:
        return fitting.fit(model, training, validation, settings=settings, checkpoint=checkpoint)
    except tf.errors.ResourceExhaustedError:
        batch_size = max(1, min(settings.batch_size or len(training), len(training)) // 2)
        log.warning("out of memory; going on with half the batch: %s rows", batch_size)
    smaller = settings.model_copy(update={"batch_size": batch_size})
    try:
        return fitting.fit(model, training, validation, settings=smaller, checkpoint=checkpoint)
    except tf.errors.ResourceExhaustedError as error:
        raise TrainingError(
            f"out of memory, even with batches of {batch_size} rows",
            expected="memory for one batch and the model",
            fix="lower training.batch_size, or make the model smaller",
        ) from error


def _started(
    run: Run, start: warm_start.Start | None, model: keras.Model, known: Any
) -> warm_start.Start | None:
    """Whose weights the model has now; None for random ones."""
    if start is None:
        return None
    if why := warm_start.take(run, start, model, known):
        log.warning(
            "training begins afresh, and not from the weights of %s: %s", start.model.run, why
        )
        return None
    log.info("training goes on from the weights of run %s", start.model.run)
    return start
