"""Tune, the end: the best trial, why it is the best, and what to write into the pipeline file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import TrainingError
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run, step
from pipeline_tasks.sections.training import Tuning

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)


@step(reads=("model", "training", "tuning"), reusable=False)
def choose(run: Run) -> Ref:
    """Name the best trial with its reasons, and keep every trial, the plot and the importances.

    Writes the artifact `tuning`: trials.json, best.yaml (to be copied into the pipeline file),
    search.png. Raises TrainingError when no trial was completed.
    """
    from pipeline_tasks.learning import tuning as studies

    tuning = run.config.tuning or Tuning(parameters={})
    study = studies.open_study(run.study, run.config.name, seed=run.config.training.seed)
    trials = study.get_trials(deepcopy=False)
    complete = sorted((one for one in trials if one.state.name == "COMPLETE"), key=_value)
    if not complete:
        raise TrainingError(
            f"none of {len(trials)} trials was completed",
            expected="at least one with a finite validation loss",
            fix="narrow tuning.parameters, or raise tuning.minutes",
        )
    best = studies.readable(complete[0], tuning)
    weights = studies.importance(study)
    reasons = _reasons(trials, complete, weights)
    text = yaml.safe_dump(_sections(run.config, best), sort_keys=False)
    with run.write("tuning") as draft:
        content = {
            "reasons": reasons,
            "best": best,
            "importance": dict(weights),
            "trials": [_record(one, studies.readable(one, tuning)) for one in trials],
        }
        (draft.folder / "trials.json").write_text(json.dumps(content, indent=1, default=str))
        (draft.folder / "best.yaml").write_text(text)
        _plot(trials, complete, weights, draft.folder / "search.png")
        draft.summary |= {
            "trials": len(trials),
            "best_trial": complete[0].number,
            "validation_loss": _value(complete[0]),
            "reasons": "; ".join(reasons),
        }
    for reason in reasons:
        log.info("%s", reason)
    log.info("to train with the best trial's parameters, write into the pipeline file:\n%s", text)
    return draft.done()


def _value(trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.value or 0.0)


def _reasons(
    trials: list[optuna.trial.FrozenTrial],
    complete: list[optuna.trial.FrozenTrial],
    weights: Mapping[str, float],
) -> list[str]:
    best = complete[0]
    reasons = [
        f"trial {best.number} has the least validation loss, {_value(best):.5f}, "
        f"of {len(complete)} completed trials ({len(trials) - len(complete)} pruned or failed)"
    ]
    if len(complete) > 1:
        middle = _value(complete[len(complete) // 2])
        reasons.append(f"the next one has {_value(complete[1]):.5f}, the median is {middle:.5f}")
    if weights:
        name, share = max(weights.items(), key=lambda item: item[1])
        reasons.append(f"{name} matters most: {share:.0%} of the variation")
    return reasons


def _sections(config: PipelineConfig, best: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of the file that change, whole."""
    tuned: Any = config.with_parameters(best).model_dump(mode="json", by_alias=True)
    return {name: tuned[name] for name in sorted({path.split(".")[0] for path in best})}


def _record(trial: optuna.trial.FrozenTrial, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "parameters": parameters,
        "validation_loss": trial.value,
        "by_epoch": list(trial.intermediate_values.values()),
    }


def _plot(
    trials: list[optuna.trial.FrozenTrial],
    complete: list[optuna.trial.FrozenTrial],
    weights: Mapping[str, float],
    path: Path,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers = [one.number for one in complete]
    left.scatter(numbers, [_value(one) for one in complete], label="trial")
    pruned = [(one.number, one.value) for one in trials if one.state.name == "PRUNED" and one.value]
    if pruned:
        at, loss = zip(*pruned, strict=True)
        left.scatter(at, loss, marker="x", color="grey", label="pruned, at its last epoch")
    ordered = sorted(complete, key=lambda one: one.number)
    so_far = [min(map(_value, ordered[: count + 1])) for count in range(len(ordered))]
    left.step([one.number for one in ordered], so_far, where="post", label="best so far")
    left.set(title="search", xlabel="trial", ylabel="validation loss")
    left.legend()
    right.barh(list(weights), list(weights.values()))
    right.set(title="importance", xlabel="share of the variation explained")
    figure.savefig(path, dpi=100)
