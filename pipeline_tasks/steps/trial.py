"""Tune, one trial: train with the parameters that the study proposes."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline_tasks import storages
from pipeline_tasks.core.errors import ConfigError, TrainingError
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Ref, Scalar
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.run import Run, step, summary_text

if TYPE_CHECKING:
    import optuna

    from pipeline_tasks.config import PipelineConfig
    from pipeline_tasks.learning.checkpoint import Progress

log = logging.getLogger(__name__)


@step(reads=("columns", "label", "model", "training", "tuning", "preparation"), reusable=False)
def trial(run: Run, prepared: Ref, slot: int) -> Ref:
    """Train once with what the study proposes, and tell it how that went.

    slot: this trial's number from 0. A trial that is worse than the others at the same epoch is
    pruned; one whose loss is not finite counts as failed; one that would start after the budget in
    minutes does nothing. A retry after a kill goes on with its parameters, from the checkpoint.
    Writes the artifact `trial_<slot>`: trial.json.
    """
    tuning = run.config.tuning
    if tuning is None:
        raise ConfigError(
            f"{run.config.name} declares nothing to tune", fix="add `tuning:` to its file"
        )
    from pipeline_tasks.learning import tuning as studies

    study = studies.open_study(run.study, run.config.name, seed=run.config.training.seed + slot)
    if tuning.minutes is not None and studies.minutes_used(study) >= tuning.minutes:
        log.info("the budget of %g minutes is used up; this trial does nothing", tuning.minutes)
        return _keep(run, slot, {"state": "over budget"})
    one, is_resumed = studies.trial_of(study, slot)
    parameters = studies.suggest(one, tuning)
    log.info("trial %s%s: %s", one.number, ", resumed" if is_resumed else "", _shown(parameters))
    result = _train(run, run.config.with_parameters(parameters), one, prepared)
    return _keep(run, slot, {"number": one.number, "parameters": parameters} | result)


def _train(run: Run, config: PipelineConfig, one: optuna.Trial, prepared: Ref) -> dict[str, Any]:
    import optuna

    state = optuna.trial.TrialState
    try:
        progress = _fit(run, config, one, prepared)
    except optuna.TrialPruned:
        one.study.tell(one.number, state=state.PRUNED)
        log.info("pruned: the others were better at this epoch")
        return {"state": "pruned"}
    except TrainingError as error:
        one.study.tell(one.number, state=state.FAIL)
        log.warning("failed, which tells the study something too: %s", error)
        return {"state": "failed", "reason": error.what}
    loss = progress.validation_loss[progress.best_epoch - 1]
    one.study.tell(one.number, loss)
    return {
        "state": "complete",
        "validation_loss": loss,
        "validation_score": progress.validation_score[progress.best_epoch - 1],
        "epochs": progress.epochs,
    }


def _fit(run: Run, config: PipelineConfig, one: optuna.Trial, prepared: Ref) -> Progress:
    load_tensorflow()
    import optuna

    from pipeline_tasks.learning import examples, fitting, network
    from pipeline_tasks.learning.checkpoint import Checkpoint

    folder = run.open(prepared)
    learned: Any = read_json(folder / "preprocessing.json")
    training, validation = (
        examples.of(config, learned, storages.read(folder, split), split)
        for split in ("train", "validation")
    )
    model = network.build(config, training.columns, for_training=True)

    known = one.study.trials[one.number].intermediate_values  # of a try that was killed

    def report(progress: Progress) -> None:
        if progress.epochs not in known and math.isfinite(progress.validation_loss[-1]):
            one.report(progress.validation_loss[-1], progress.epochs)
        if one.should_prune():
            raise optuna.TrialPruned

    place = run.store.scratch(run.config.name, run.id, f"trial-{one.number}")
    checkpoint = Checkpoint(place, "state")
    try:
        return fitting.fit(
            model,
            training,
            validation,
            settings=config.training,
            checkpoint=checkpoint,
            after_epoch=report,
        )
    finally:
        checkpoint.clear()


def _keep(run: Run, slot: int, content: dict[str, Any]) -> Ref:
    with run.write(f"trial_{slot}") as draft:
        (draft.folder / "trial.json").write_text(json.dumps(content, indent=1))
        shown: dict[str, Scalar] = {
            key: value for key, value in content.items() if isinstance(value, str | int | float)
        }
        draft.summary |= {"title": _title(content)} | shown
    return draft.done()


def _title(content: Mapping[str, Any]) -> str:
    """What tells this trial from the others at a glance.

    >>> _title({"number": 3, "state": "pruned", "parameters": {"model.dropout": 0.12345}})
    '3: dropout 0.1235: pruned'
    """
    if "number" not in content:
        return str(content["state"])
    result = f"loss {content['validation_loss']:.4g}" if "validation_loss" in content else ""
    return f"{content['number']}: {_shown(content['parameters'])}: {result or content['state']}"


def _shown(parameters: Mapping[str, Any]) -> str:
    short = {path.split(".")[-1]: value for path, value in parameters.items()}
    return summary_text(short).removeprefix(": ")
