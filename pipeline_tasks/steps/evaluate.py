"""Validate: candidate and champion on the same rows, which neither was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import rows
from pipeline_tasks.core import registry
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Champion, Ref
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.run import Run, step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = ("test", "recent")


def _champion_digest(run: Run, prepared: Ref, model: Ref) -> str:
    champion = _other_champion(run, model)
    return champion.exported.digest if champion else ""


@step(reads=("columns", "label", "model", "metrics"), outside=_champion_digest)
def evaluate(run: Run, prepared: Ref, model: Ref) -> Ref:
    """Accuracy, precision, recall, F1 and the confusion matrix on unseen rows, champion beside it.

    `test` is the source's held-out split, `recent` the latest labelled observations, if any.
    Writes the artifact `evaluation`: evaluation.json, and predictions.npz with
    `<split>_probabilities` (n, classes) and `<split>_label` (n,) of the candidate.
    """
    load_tensorflow()
    from pipeline_tasks.learning import answering

    folder = run.open(prepared)
    learned: Any = read_json(folder / "preprocessing.json")
    _, candidate = answering.trained(run.config, learned, run.open(model))
    champion = _other_champion(run, model)
    incumbent = answering.exported(run.open(champion.exported)) if champion else None
    report: dict[str, Any] = {}
    kept: dict[str, NDArray[np.generic]] = {}
    for split in SPLITS:
        if (folder / f"{split}.npz").is_file():
            columns = rows.read_arrays(folder / f"{split}.npz")
            truth = columns.pop(rows.LABEL)
            shares = answering.shares_or_values(candidate, columns)
            kept |= {f"{split}_probabilities": shares, f"{split}_label": truth}
            report[split] = {
                "rows": len(truth),
                "candidate": _scores(run, truth, shares),
                "champion": _champion_scores(run, truth, columns, incumbent),
                "confusion": _confusion(truth, shares),
            }
    with run.write("evaluation") as draft:
        _write(draft.folder, report, champion)
        rows.write_arrays(draft.folder / "predictions.npz", kept)
        for split, part in report.items():
            for who in ("candidate", "champion"):
                scores = part[who] or {}
                draft.summary |= {f"{split}_{who}_{name}": v for name, v in scores.items()}
    return draft.done()


def _other_champion(run: Run, model: Ref) -> Champion | None:
    """The champion, unless the candidate is the very same model."""
    champion = run.store.champion(run.config.name)
    return champion if champion and champion.model.digest != model.digest else None


def _champion_scores(
    run: Run,
    truth: NDArray[np.generic],
    columns: rows.Arrays,
    incumbent: Callable[..., Any] | None,
) -> dict[str, float] | None:
    from pipeline_tasks.learning import answering

    if incumbent is None:
        return None
    return _scores(run, truth, answering.shares_or_values(incumbent, columns))


def _scores(run: Run, truth: NDArray[np.generic], shares: NDArray[np.float32]) -> dict[str, float]:
    predicted = shares.argmax(axis=1)
    return {
        name: registry.part("metrics", name).compute(truth, predicted)
        for name in run.config.metrics
    }


def _confusion(truth: NDArray[np.generic], shares: NDArray[np.float32]) -> list[list[int]]:
    """Rows: the true class; columns: the predicted one."""
    import numpy as np

    matrix = np.zeros((shares.shape[1],) * 2, dtype=int)
    np.add.at(matrix, (truth.astype(int), shares.argmax(axis=1)), 1)
    table: list[list[int]] = matrix.tolist()
    return table


def _write(folder: Path, report: dict[str, Any], champion: Champion | None) -> None:
    content = {"champion_version": champion.version if champion else None, "splits": report}
    (folder / "evaluation.json").write_text(json.dumps(content, indent=1))
