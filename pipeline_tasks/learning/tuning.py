"""A study: trials that share what they have learned about a pipeline's parameters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline_tasks.core import clock
from pipeline_tasks.core.bucket import Bucket, Place
from pipeline_tasks.sections.training import Tuning

if TYPE_CHECKING:
    import optuna
    from optuna.storages.journal import BaseJournalBackend

log = logging.getLogger(__name__)

JOURNAL = "study.journal"
SLOT, BEGAN = "slot", "began_at"
STARTUP_TRIALS = 4


def open_study(place: Place, name: str, *, seed: int) -> optuna.Study:
    """The study kept in `place`; made when there is none. Several machines may share it.

    A lower value is better: the validation loss. The sampler is TPE (Bergstra et al., NeurIPS
    2011), and a trial is pruned when it is worse than the median of the others at the same epoch.
    """
    import optuna
    from optuna.storages import JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(_backend(place)),
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=2),
        direction="minimize",
        load_if_exists=True,
    )
    if BEGAN not in study.user_attrs:
        study.set_user_attr(BEGAN, clock.text(clock.now()))
    return study


def _backend(place: Place) -> BaseJournalBackend:
    if isinstance(place, Bucket):
        from pipeline_tasks.learning.study_journal import BucketBackend

        return BucketBackend(place)
    from optuna.storages.journal import JournalFileBackend

    return JournalFileBackend(str(place / JOURNAL))


def minutes_used(study: optuna.Study) -> float:
    """Since the study began."""
    began = clock.parse(str(study.user_attrs[BEGAN]))
    return (clock.now() - began).total_seconds() / 60


def trial_of(study: optuna.Study, slot: int) -> tuple[optuna.Trial, bool]:
    """The trial of this slot: a new one, or, after a kill, the one that was under way.

    True when it is the latter; its parameters are those it had.
    """
    import optuna

    for kept in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        if kept.user_attrs.get(SLOT) == slot:
            return optuna.Trial(study, kept._trial_id), True
    trial = study.ask()
    trial.set_user_attr(SLOT, slot)
    return trial, False


def suggest(trial: optuna.Trial, tuning: Tuning) -> dict[str, Any]:
    """The trial's parameters by their path in the pipeline file."""
    found: dict[str, Any] = {}
    for path, space in tuning.parameters.items():
        if space.choices:
            index = trial.suggest_categorical(path, list(range(len(space.choices))))
            found[path] = space.choices[int(index)]
        elif space.is_whole:
            low, high = int(space.low or 0), int(space.high or 0)
            found[path] = trial.suggest_int(path, low, high, log=space.log)
        else:
            low_, high_ = float(space.low or 0), float(space.high or 0)
            found[path] = trial.suggest_float(path, low_, high_, log=space.log)
    return found


def readable(trial: optuna.trial.FrozenTrial, tuning: Tuning) -> dict[str, Any]:
    """A kept trial's parameters as the file would have them."""
    return {
        path: tuning.parameters[path].choices[value] if tuning.parameters[path].choices else value
        for path, value in trial.params.items()
    }


def importance(study: optuna.Study) -> Mapping[str, float]:
    """How much of the loss's variation each parameter explains, from 0 to 1; nothing when unclear.

    PED-ANOVA (Watanabe et al., IJCAI 2023).
    """
    import optuna

    try:
        with warnings.catch_warnings():
            # Optuna warns where it would call all parameters equal for want of trials.
            warnings.simplefilter("error", UserWarning)
            found: Mapping[str, float] = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
    except (ValueError, RuntimeError, ZeroDivisionError, UserWarning) as error:
        log.info("too little seen to say which parameter matters: %s", error)
        return {}
    return found
