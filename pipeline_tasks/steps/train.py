"""Train: learn from the training split until the validation split says stop."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import storages
from pipeline_tasks.core.errors import TrainingError
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Ref
from pipeline_tasks.learning import load_tensorflow, warm_start
from pipeline_tasks.run import Run, step
from pipeline_tasks.sections.training import Training

if TYPE_CHECKING:
    import keras

    from pipeline_tasks.learning.checkpoint import Checkpoint, Progress
    from pipeline_tasks.learning.fitting import Examples

log = logging.getLogger(__name__)


@step(
    reads=("columns", "label", "model", "training", "preparation"),
    outside=warm_start.digest,
)
def train(run: Run, prepared: Ref) -> Ref:
    """Backpropagation with early stopping and a checkpoint after every epoch.

    A retry after a kill goes on at the next epoch and ends with the same weights. With `start:
    champion` it begins with the champion's weights; where they do not fit, afresh, and says why.
    Writes the artifact `model`: weights.npz, curves.json, curves.png and, where it did not begin
    afresh, start.json.
    Raises TrainingError when the loss is not finite.
    """
    load_tensorflow()
    from pipeline_tasks.learning import examples, fitting, network
    from pipeline_tasks.learning.checkpoint import Checkpoint

    folder = run.open(prepared)
    learned: Any = read_json(folder / "preprocessing.json")
    training, validation = (
        examples.of(run.config, learned, storages.read(folder, split), split)
        for split in ("train", "validation")
    )
    model = network.build(run.config, training.columns, for_training=True)
    checkpoint = Checkpoint(
        run.store.scratch(run.config.name, run.id, "train") / f"{run.fingerprint}.npz"
    )
    solution = network.solution(run.config, training.columns, training.labels)
    start = None if solution is not None else _start(run, prepared, model, learned)
    if solution is not None:
        progress = fitting.solved(model, training, validation, solution)
    else:
        progress = _fit(run.config.training, model, training, validation, checkpoint)
    with run.write("model") as draft:
        network.save(model, draft.folder / network.WEIGHTS)
        (draft.folder / "curves.json").write_text(json.dumps(progress.curves()))
        _plot(progress, _score(run), draft.folder / "curves.png")
        if start:
            (draft.folder / warm_start.START).write_text(start.model_dump_json())
        best = progress.best_epoch
        draft.summary |= {
            "epochs": progress.epochs,
            "best_epoch": best,
            "validation_loss": progress.validation_loss[best - 1],
            f"validation_{_score(run)}": progress.validation_score[best - 1],
            "parameters": model.count_params(),
        }
    checkpoint.clear()
    return draft.done()


def _fit(
    settings: Training,
    model: keras.Model,
    training: Examples,
    validation: Examples,
    checkpoint: Checkpoint,
) -> Progress:
    """Fit; when memory runs out, once more with half the batch."""
    import tensorflow as tf

    from pipeline_tasks.learning import fitting

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


def _start(run: Run, prepared: Ref, model: keras.Model, learned: Any) -> warm_start.Start | None:
    """Whose weights the model has now; None for random ones."""
    start = warm_start.found(run, prepared)
    if start is None:
        return None
    if why := warm_start.take(run, start, model, learned):
        log.warning(
            "training begins afresh, and not from the weights of %s: %s", start.model.run, why
        )
        return None
    log.info("training goes on from the weights of run %s", start.model.run)
    return start


def _score(run: Run) -> str:
    return "r2" if run.config.task == "regression" else "accuracy"


def _plot(progress: Progress, score: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = range(1, progress.epochs + 1)
    left.plot(epochs, progress.loss, label="training")
    left.plot(epochs, progress.validation_loss, label="validation")
    right.plot(epochs, progress.validation_score, label="validation")
    for axes, title in ((left, "loss"), (right, score)):
        axes.set(title=title, xlabel="epoch")
        axes.axvline(progress.best_epoch, linestyle=":", color="grey", label="best")
        for epoch in progress.resumed_after:
            axes.axvline(epoch + 0.5, linestyle="--", color="tab:red", label="resumed")
        axes.legend()
    figure.savefig(path, dpi=100)
