"""Train: learn from the training split until the validation split says stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import rows
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Ref
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.run import Run, step

if TYPE_CHECKING:
    from pipeline_tasks.learning.checkpoint import Progress
    from pipeline_tasks.learning.fitting import Examples


@step(reads=("columns", "label", "model", "training"))
def train(run: Run, prepared: Ref) -> Ref:
    """Backpropagation with Adam, L2, dropout and early stopping; a checkpoint after every epoch.

    A retry after a kill goes on at the next epoch and ends with the same weights.
    Writes the artifact `model`: weights.npz, curves.json and curves.png.
    Raises TrainingError when the loss is not finite.
    """
    load_tensorflow()
    from pipeline_tasks.learning import fitting, network
    from pipeline_tasks.learning.checkpoint import Checkpoint

    folder = run.open(prepared)
    training = _examples(run, folder, "train")
    model = network.build(run.config, training.columns)
    checkpoint = Checkpoint(
        run.store.scratch(run.config.name, run.id, "train") / f"{run.fingerprint}.npz"
    )
    progress = fitting.fit(
        model,
        training,
        _examples(run, folder, "validation"),
        settings=run.config.training,
        checkpoint=checkpoint,
    )
    with run.write("model") as draft:
        network.save(model, draft.folder / network.WEIGHTS)
        (draft.folder / "curves.json").write_text(json.dumps(progress.curves()))
        _plot(progress, draft.folder / "curves.png")
        best = progress.best_epoch
        draft.summary |= {
            "epochs": progress.epochs,
            "best_epoch": best,
            "validation_loss": progress.validation_loss[best - 1],
            "validation_accuracy": progress.validation_accuracy[best - 1],
            "parameters": model.count_params(),
        }
    checkpoint.clear()
    return draft.done()


def _examples(run: Run, folder: Path, split: str) -> Examples:
    """One split, its raw columns encoded once for all epochs."""
    import tensorflow as tf

    from pipeline_tasks.learning import encoding
    from pipeline_tasks.learning.fitting import Examples

    arrays = rows.read_arrays(folder / f"{split}.npz")
    labels = arrays.pop(rows.LABEL)
    raw = {name: tf.constant(values) for name, values in arrays.items()}
    learned: Any = read_json(folder / "preprocessing.json")
    if run.config.task == "regression":
        labels = (labels - learned[rows.LABEL]["mean"]) / learned[rows.LABEL]["scale"]
        labels = labels.astype("float32")
    columns = encoding.encode(raw, run.config, learned)
    return Examples(columns=columns, labels=tf.constant(labels))


def _plot(progress: Progress, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = range(1, progress.epochs + 1)
    left.plot(epochs, progress.loss, label="training")
    left.plot(epochs, progress.validation_loss, label="validation")
    right.plot(epochs, progress.validation_accuracy, label="validation")
    for axes, title in ((left, "loss"), (right, "accuracy")):
        axes.set(title=title, xlabel="epoch")
        axes.axvline(progress.best_epoch, linestyle=":", color="grey", label="best")
        for epoch in progress.resumed_after:
            axes.axvline(epoch + 0.5, linestyle="--", color="tab:red", label="resumed")
        axes.legend()
    figure.savefig(path, dpi=100)
