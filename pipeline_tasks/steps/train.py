"""Train: learn from the training split until the validation split says stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks import storages
from pipeline_tasks.core.values import Ref
from pipeline_tasks.learning import load_tensorflow, warm_start
from pipeline_tasks.run import Run, step

if TYPE_CHECKING:
    from pipeline_tasks.learning.checkpoint import Progress


@step(
    reads=("columns", "label", "model", "training", "preparation"),
    outside=warm_start.digest,
)
def train(run: Run, prepared: Ref) -> Ref:
    """Backpropagation with early stopping, and a checkpoint after an epoch.

    A retry after a kill goes on from there and ends with the same weights. With `start:
    champion` it begins with the champion's weights; where they do not fit, afresh, and says why.
    Writes the artifact `model`: weights.npz, curves.json, curves.png and, where it did not begin
    afresh, start.json.
    Raises TrainingError when the loss is not finite.
    """
    load_tensorflow()
    from pipeline_tasks.learning import lesson, network

    folder = run.open(prepared)
    training, validation = (storages.read(folder, split) for split in ("train", "validation"))
    start = warm_start.found(run, prepared)
    checkpoint = lesson.checkpoint_of(run)
    learned = lesson.learn(run, lesson.Lesson(prepared, training, validation, start), checkpoint)
    progress = learned.progress
    with run.write("model") as draft:
        network.save(learned.model, draft.folder / network.WEIGHTS)
        (draft.folder / "curves.json").write_text(json.dumps(progress.curves()))
        _plot(progress, _score(run), draft.folder / "curves.png")
        if learned.start:
            (draft.folder / warm_start.START).write_text(learned.start.model_dump_json())
        best = progress.best_epoch
        draft.summary |= {
            "epochs": progress.epochs,
            "best_epoch": best,
            "validation_loss": progress.validation_loss[best - 1],
            f"validation_{_score(run)}": progress.validation_score[best - 1],
            "parameters": learned.model.count_params(),
        }
    checkpoint.clear()
    return draft.done()


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
