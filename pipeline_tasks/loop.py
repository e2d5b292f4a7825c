"""The training loop's steps in their order: what each is given, and what follows what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.values import Ref, Scalar, Verdict
from pipeline_tasks.run import Run, Step

NEEDS: dict[str, dict[str, str]] = {
    "ingest": {},
    "check": {"raw": "ingest"},
    "prepare": {"checked": "check"},
    "train": {"prepared": "prepare"},
    "evaluate": {"prepared": "prepare", "model": "train"},
    "gate": {"evaluation": "evaluate", "model": "train"},
    "refit": {"model": "train", "prepared": "prepare"},
    "export": {"model": "train", "prepared": "prepare"},
    "verify": {"exported": "export"},
    "publish": {"exported": "export", "verified": "verify", "model": "train"},
    "canary": {"published": "publish"},
    "shadow": {"published": "publish"},
    "deploy": {
        "published": "publish",
        "verified": "verify",
        "exported": "export",
        "verdict": "gate",
        "evaluation": "evaluate",
        "model": "train",
        "prepared": "prepare",
    },
    "bake": {"deployment": "deploy"},
    "withdraw": {"published": "publish", "model": "train"},
}
STEPS = tuple(name for name in NEEDS if name != "withdraw")
DECISIONS = {"gate", "verify", "canary", "shadow", "bake"}
WATCHES = ("canary", "shadow", "bake")


@dataclass(frozen=True)
class Task:
    """One box of the loop: a step with what it is given by value. id: what its box is called."""

    id: str
    step: str
    given: Mapping[str, Scalar] = field(default_factory=dict)


def trial(config: PipelineConfig) -> list[Task]:
    """What comes between publish and deploy: nothing, the canary's steps, or the shadow."""
    rules = config.deployment
    if rules.strategy == "canary":
        return [Task(f"canary_{one:g}", "canary", {"percent": one}) for one in rules.steps]
    return [Task("shadow", "shadow")] if rules.strategy == "shadow" else []


def needs(config: PipelineConfig, step: str) -> dict[str, str]:
    """What a step of this pipeline is given: what is exported may be the refit."""
    is_refit = step == "export" and config.retraining.refit
    return NEEDS[step] | ({"model": "refit"} if is_refit else {})


def tasks(config: PipelineConfig) -> list[Task]:
    """The loop of one pipeline; withdraw, which is for the worst, is not among them."""
    others = ("canary", "shadow") if config.retraining.refit else ("canary", "shadow", "refit")
    straight = [Task(name, name) for name in STEPS if name not in others]
    at = [task.id for task in straight].index("deploy")
    return [*straight[:at], *trial(config), *straight[at:]]


def run_steps(run: Run, *, until: str = STEPS[-1]) -> Iterator[tuple[str, Ref]]:
    """Do each step and say what it left; a no ends the loop early.

    A published candidate that comes to no good end, be it by an error, is withdrawn.
    """
    done: dict[str, Ref] = {}
    try:
        for task in tasks(run.config):
            done[task.id] = _do(run, task, done)
            yield task.id, done[task.id]
            if task.step in DECISIONS and done[task.id].summary["answer"] != "yes":
                break
            if until in (task.id, task.step):
                return
    except GeneratorExit:
        raise
    except BaseException:
        if "publish" in done:
            withdrawn(run, done)
        raise
    if "publish" in done and done[task.id].summary["answer"] != "yes":
        yield "withdraw", withdrawn(run, done)


def _do(run: Run, task: Task, done: Mapping[str, Ref]) -> Ref:
    given = {key: done[needed] for key, needed in needs(run.config, task.step).items()}
    return function(task.step)(run, **given, **task.given)


def withdrawn(run: Run, done: Mapping[str, Ref]) -> Ref:
    """Withdraw the run's candidate because of what its last watch left."""
    ended = [task.id for task in tasks(run.config) if task.step in WATCHES and task.id in done]
    given = {key: done[needed] for key, needed in NEEDS["withdraw"].items()}
    last = {"watched": done[ended[-1]]} if ended else {}
    return function("withdraw")(run, **given, **last)


def tune(run: Run) -> Iterator[tuple[str, Ref]]:
    """Prepare the data, do every trial one after the other, and choose; says what each left."""
    done: dict[str, Ref] = {}
    for name in ("ingest", "check", "prepare"):
        done[name] = _do(run, Task(name, name), done)
        yield name, done[name]
    for slot in range(run.config.tuning.trials if run.config.tuning else 1):
        yield "trial", function("trial")(run, prepared=done["prepare"], slot=slot)
    yield "choose", function("choose")(run)


def function(name: str) -> Step:
    """The function of one step; its module is imported now."""
    found: Step = getattr(import_module(f"pipeline_tasks.steps.{name}"), name)
    return found


def look(name: str) -> Callable[..., Verdict | None]:
    """One look of a step that watches: its verdict, or None when it would have to wait."""
    found: Callable[..., Verdict | None] = import_module(f"pipeline_tasks.steps.{name}").look
    return found
