"""Refit: a proven candidate learns what judged it, before it answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import storages
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Ref, Verdict
from pipeline_tasks.data import rows
from pipeline_tasks.decisions.refitting import refitting
from pipeline_tasks.learning import load_tensorflow, warm_start
from pipeline_tasks.monitoring import regime
from pipeline_tasks.run import Run, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline_tasks.learning.lesson import Lesson


@step(reads=("columns", "label", "model", "training", "preparation", "retraining"))
def refit(run: Run, prepared: Ref, model: Ref) -> Ref:
    """Train once more, with the latest labelled rows, which have proven the candidate by now.

    The same recipe begins where the candidate began, and stops by the same validation rows. What
    comes of it answers in the candidate's place if it answers those rows almost as that does, which
    their labels have proven. Without such rows there is nothing to learn: the candidate answers.
    Writes the artifact `refitted`: weights.npz, the refit's or the candidate's, and refit.json.
    `learned_until` in its summary: the next candidate is judged by observations that came later.
    """
    folder = run.open(prepared)
    if not storages.has(folder, "recent"):
        return model
    load_tensorflow()
    from pipeline_tasks.learning import lesson, network

    checkpoint = lesson.checkpoint_of(run)
    learned = lesson.learn(run, _lesson(run, prepared, model), checkpoint)
    with run.write("refitted") as draft:
        weights = draft.folder / network.WEIGHTS
        network.save(learned.model, weights)
        verdict = _verdict(run, folder, run.open(model), draft.folder)
        if not verdict.is_yes:
            shutil.copyfile(run.open(model) / network.WEIGHTS, weights)
        content = {"verdict": verdict.model_dump(mode="json"), **learned.progress.curves()}
        (draft.folder / "refit.json").write_text(json.dumps(content))
        draft.summary |= {
            "answer": verdict.answer.value,
            "reasons": "; ".join(verdict.reasons),
        }
        if verdict.is_yes:
            draft.summary[regime.LEARNED] = prepared.summary.get(regime.OBSERVED)
    checkpoint.clear()
    return draft.done()


def _lesson(run: Run, prepared: Ref, model: Ref) -> Lesson:
    import numpy as np

    from pipeline_tasks.learning import lesson

    folder, path = run.open(prepared), run.open(model) / warm_start.START
    training, recent, validation = (
        storages.read(folder, split) for split in ("train", "recent", "validation")
    )
    joined = {name: np.concatenate([one, recent[name]]) for name, one in training.items()}
    start = warm_start.Start.model_validate_json(path.read_text()) if path.is_file() else None
    return lesson.Lesson(prepared, joined, validation, start)


def _verdict(run: Run, prepared: Path, candidate: Path, refitted: Path) -> Verdict:
    from pipeline_tasks.learning import answering

    learned: Any = read_json(prepared / "preprocessing.json")
    columns = storages.read(prepared, "recent")
    truth = columns.pop(rows.LABEL)
    before, now = (
        answering.shares_or_values(answering.trained(run.config, learned, folder)[1], columns)
        for folder in (candidate, refitted)
    )
    changed = _changed(run.config, truth, before, now)
    return refitting(run.config.retraining, changed=changed, rows=len(truth))


def _changed(
    config: PipelineConfig, truth: NDArray[Any], before: NDArray[Any], now: NDArray[Any]
) -> float:
    import numpy as np

    if config.task != "regression":
        return float((before.argmax(axis=1) != now.argmax(axis=1)).mean())
    error = float(np.sqrt(np.mean((before - truth) ** 2)))
    return float(np.sqrt(np.mean((now - before) ** 2))) / max(error, 1e-12)
