"""Validate: candidate and champion on the same rows, which neither was trained on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import storages
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.fingerprint import code_digest
from pipeline_tasks.core.store import read_json, read_manifest
from pipeline_tasks.core.values import Champion, Ref
from pipeline_tasks.data import rows
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.metrics import log_loss, rmse
from pipeline_tasks.run import Run, step
from pipeline_tasks.sections.settings import Label
from pipeline_tasks.validation import curves, expecting, plots, report
from pipeline_tasks.validation.comparing import Asked
from pipeline_tasks.validation.diagnosis import Diagnosis, Evidence, diagnose
from pipeline_tasks.validation.importance import importance, sample
from pipeline_tasks.validation.slices import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]
    Answerer = Callable[[Columns], NDArray[Any]]

log = logging.getLogger(__name__)

SEEN_ROWS = 1_000


def _outside(run: Run, prepared: Ref, model: Ref) -> str:
    """The champion, and the detector that keeps the reference."""
    champion, detector = _other_champion(run, model), run.config.monitoring.detector
    code = code_digest(frozenset({f"pipeline_tasks.detectors.{detector.kind}"}))
    return f"{champion.exported.digest if champion else ''}{detector}{code}"


@step(
    reads=("columns", "label", "model", "training", "metrics", "evaluation"),
    outside=_outside,
)
def evaluate(run: Run, prepared: Ref, model: Ref) -> Ref:
    """Every metric on unseen rows with its 95 % interval, beside the champion's and a naive one.

    `test` is the source's held-out split, `recent` the latest labelled observations, if any.
    Writes the artifact `evaluation`: evaluation.json (metrics, intervals, confusion, by class and
    slice, importance of columns, diagnosis of the fit), paired.json (candidate against champion
    row by row), curves.json with pictures of it (<split>.png, learning.png), and predictions.npz
    with `<split>_probabilities` (n, classes), or `<split>_values` (n,), and `<split>_label` (n,)
    of the candidate. Production will be compared with what it is judged on: see expecting.write.
    """
    load_tensorflow()
    folder, trained = run.open(prepared), run.open(model)
    champion = _other_champion(run, model)
    mine, theirs, obstacles = _answerers(run, folder, trained, champion)
    scene = Scene(
        config=run.config,
        candidate=mine,
        champion=theirs,
        seen={split: _sample(folder, split) for split in ("train", "validation")},
        naive=_naive(run.config, folder),
    )
    found = [
        Found.of(scene, split, storages.read(folder, split), _others(folder, split))
        for split in rows.JUDGING
        if storages.has(folder, split)
    ]
    learning: Any = read_json(trained / "curves.json")
    content: dict[str, Any] = {
        "champion_version": champion.version if champion else None,
        "obstacles": obstacles,
        "splits": {one.split: one.report for one in found},
        "importance": _importance(scene, found[0]),
        "diagnosis": asdict(_diagnosis(scene, found[0], learning, prepared)),
    }
    with run.write("evaluation") as draft:
        _write(draft.folder, content, found, learning)
        expecting.write(draft.folder, run.config, _expected(scene, folder, found[-1]))
        for one in found:
            for who in (report.CANDIDATE, report.CHAMPION):
                scores = one.report[who] or {}
                draft.summary |= {f"{one.split}_{who}_{k}": value for k, value in scores.items()}
    return draft.done()


@dataclass(frozen=True)
class Scene:
    """Who answers, and what is known of the training rows.

    champion: None where there is no other one, or it cannot be compared with. seen: some rows of
    the splits that were trained with. naive: see report.naive.
    """

    config: PipelineConfig
    candidate: Answerer
    champion: Answerer | None
    seen: Mapping[str, rows.Arrays]
    naive: NDArray[Any]

    @property
    def judge(self) -> report.Judge:
        """What is measured."""
        settings = self.config.evaluation
        return report.Judge(self.config.metrics, settings.bootstrap, self.config.label.classes)

    def baseline(self, count: int) -> NDArray[Any]:
        """The naive answer to so many rows."""
        import numpy as np

        return np.repeat(self.naive, count, axis=0)


@dataclass(frozen=True)
class Found:
    """One split: its rows, the candidate's answer, and what was measured."""

    split: str
    columns: Columns
    truth: NDArray[Any]
    answer: NDArray[Any]
    report: dict[str, Any]
    paired: dict[str, Any]

    @classmethod
    def of(cls, scene: Scene, split: str, columns: rows.Arrays, others: Columns) -> Found:
        """Ask everybody, and judge the answers. others: columns that only a champion may take."""
        truth = columns.pop(rows.LABEL)
        answers = {report.BASELINE: scene.baseline(len(truth))}
        began = time.monotonic()
        answers[report.CANDIDATE] = scene.candidate(columns)
        seconds = time.monotonic() - began
        if scene.champion is not None:
            answers[report.CHAMPION] = scene.champion({**columns, **others})
        slices = list(cut(scene.config.evaluation.slices, columns, scene.seen["train"]))
        judged = scene.judge.split(truth, answers, slices)
        judged["ms_per_1000_rows"] = round(seconds * 1e6 / len(truth), 3)
        log.info("%s", report.sentence(split, judged))
        paired = scene.judge.paired(truth, answers)
        return cls(split, columns, truth, answers[report.CANDIDATE], judged, paired)


def _other_champion(run: Run, model: Ref) -> Champion | None:
    """The champion, unless the candidate is the very same model."""
    champion = run.store.champion(run.config.name)
    return champion if champion and champion.model.digest != model.digest else None


def _answerers(
    run: Run, prepared: Path, trained: Path, champion: Champion | None
) -> tuple[Answerer, Answerer | None, list[str]]:
    """Candidate and champion, and what is in the way of asking the champion."""
    from pipeline_tasks.learning import answering

    learned: Any = read_json(prepared / "preprocessing.json")
    function = answering.trained(run.config, learned, trained)[1]

    def candidate(columns: Columns) -> NDArray[Any]:
        return answering.shares_or_values(function, columns)

    if champion is None:
        return candidate, None, []
    takes, served = answering.exported(run.open(champion.exported))
    asked = Asked(takes, _label(run, champion))

    def other(columns: Columns) -> NDArray[Any]:
        answer = answering.shares_or_values(served, asked.given(columns))
        return asked.in_order_of(run.config.label, answer)

    there = storages.read(prepared, "test") | _others(prepared, "test")
    obstacles = asked.obstacles(there, run.config.label)
    for one in obstacles:
        log.warning("version %s cannot be compared with: %s", champion.version, one)
    return candidate, None if obstacles else other, obstacles


def _label(run: Run, champion: Champion) -> Label:
    """The label as the pipeline file had it when the champion was made."""
    settings: Any = read_manifest(run.open(champion.exported)).settings
    return Label.model_validate(settings["label"])


def _others(prepared: Path, split: str) -> rows.Arrays:
    name = f"{split}{rows.OTHERS}"
    return storages.read(prepared, name) if storages.has(prepared, name) else {}


def _sample(folder: Path, split: str) -> rows.Arrays:
    arrays = storages.read(folder, split)
    chosen = sample(len(arrays[rows.LABEL]), SEEN_ROWS)
    return {name: values[chosen] for name, values in arrays.items()}


def _naive(config: PipelineConfig, folder: Path) -> NDArray[Any]:
    labels = storages.read(folder, "train", only=[rows.LABEL])[rows.LABEL]
    return report.naive(labels, len(config.label.classes))


def _expected(scene: Scene, folder: Path, judged: Found) -> expecting.Rows:
    """The rows that the candidate is judged on, in the order of time.

    Where test rows are few, those that have chosen the epoch come before them.
    """
    import numpy as np

    columns, truth, answer = {**judged.columns}, judged.truth, judged.answer
    splits, few = [judged.split], expecting.ENOUGH_ROWS - len(truth)
    if judged.split == "test" and few > 0:
        before = {name: one[-few:] for name, one in storages.read(folder, "validation").items()}
        truth = np.concatenate([before.pop(rows.LABEL), truth])
        answer = np.concatenate([scene.candidate(before), answer])
        columns = {name: np.concatenate([before[name], one]) for name, one in columns.items()}
        splits = ["validation", "test"]
    split = scene.config.split
    order = np.arange(len(truth))
    if split.by == "time" and split.column in columns and judged.split == "test":
        order = np.argsort(columns[split.column], kind="stable")
    return expecting.Rows(
        splits=splits,
        columns={name: one[order] for name, one in columns.items()},
        truth=truth[order],
        answer=answer[order],
        cut_by={name: scene.seen["train"][name] for name in scene.config.evaluation.slices},
    )


def _importance(scene: Scene, test: Found) -> dict[str, dict[str, float]]:
    if not scene.config.evaluation.importance:
        return {}
    part = registry.part("metrics", scene.config.metrics[0])
    found = importance(part, test.truth, test.columns, scene.candidate)
    if found:
        most = ", ".join(f"{name} {one['mean']:.3g}" for name, one in list(found.items())[:5])
        log.info("%s lost when a column is shuffled: %s", scene.config.metrics[0], most)
    return found


def _diagnosis(scene: Scene, test: Found, learning: Any, prepared: Ref) -> Diagnosis:
    config = scene.config
    losses = {split: _seen_loss(scene, arrays) for split, arrays in scene.seen.items()}
    baseline = scene.baseline(len(test.truth))
    params = registry.params("models", config.model.kind, config.model.settings())
    found = diagnose(
        Evidence(
            loss=learning["loss"],
            validation_loss=learning["validation_loss"],
            losses=losses | {"test": _loss(config, test.truth, test.answer)},
            naive=_loss(config, test.truth, baseline),
            rows=int(prepared.summary["train"] or 0),
            model=params.model_dump(mode="json"),
            training=config.training.model_dump(mode="json"),
        )
    )
    log.info("fit: %s: %s", found.fit, "; ".join([*found.findings, *found.hints]))
    return found


def _seen_loss(scene: Scene, arrays: rows.Arrays) -> float:
    columns = {name: values for name, values in arrays.items() if name != rows.LABEL}
    return _loss(scene.config, arrays[rows.LABEL], scene.candidate(columns))


def _loss(config: PipelineConfig, truth: NDArray[Any], answer: NDArray[Any]) -> float:
    """The mean loss of a row: the log loss, or the squared error."""
    if config.task == "regression":
        return rmse.compute(truth, answer) ** 2
    return log_loss.compute(truth, answer)


def _write(folder: Path, content: dict[str, Any], found: list[Found], learning: Any) -> None:
    (folder / "evaluation.json").write_text(json.dumps(content, indent=1))
    (folder / "paired.json").write_text(json.dumps({one.split: one.paired for one in found}))
    drawn = {one.split: _curves(one) for one in found}
    (folder / "curves.json").write_text(json.dumps({"learning": learning, "splits": drawn}))
    kept: dict[str, NDArray[Any]] = {}
    for one in found:
        name = "values" if one.report["confusion"] is None else "probabilities"
        kept |= {f"{one.split}_{name}": one.answer, f"{one.split}_label": one.truth}
        plots.of_split(folder / f"{one.split}.png", one.report, drawn[one.split])
    rows.write_arrays(folder / "predictions.npz", kept)
    plots.of_learning(folder / "learning.png", learning, content["importance"])


def _curves(one: Found) -> dict[str, Any]:
    if one.report["confusion"] is None:
        return {**curves.of_values(one.truth, one.answer)}
    names = [line["class"] for line in one.report["by_class"]]
    return {**curves.of_classes(one.truth, one.answer, names)}
