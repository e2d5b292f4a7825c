"""The training loop's steps in their order, for running without Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run, Step

NEEDS: dict[str, dict[str, str]] = {
    "ingest": {},
    "check": {"raw": "ingest"},
    "prepare": {"checked": "check"},
    "train": {"prepared": "prepare"},
    "evaluate": {"prepared": "prepare", "model": "train"},
    "gate": {"evaluation": "evaluate", "model": "train"},
    "export": {"model": "train", "prepared": "prepare"},
    "verify": {"exported": "export"},
    "deploy": {
        "exported": "export",
        "verified": "verify",
        "verdict": "gate",
        "evaluation": "evaluate",
        "model": "train",
        "prepared": "prepare",
    },
}
STEPS = tuple(NEEDS)


def run_steps(run: Run, *, until: str = STEPS[-1]) -> Iterator[tuple[str, Ref]]:
    """Do each step and say what it left; a refusal at the gate ends the loop early."""
    done: dict[str, Ref] = {}
    for name, needs in NEEDS.items():
        done[name] = function(name)(run, **{key: done[needed] for key, needed in needs.items()})
        yield name, done[name]
        if name == until or (name == "gate" and done[name].summary["answer"] != "yes"):
            return


def tune(run: Run) -> Iterator[tuple[str, Ref]]:
    """Prepare the data, do every trial one after the other, and choose; says what each left."""
    done: dict[str, Ref] = {}
    for name in ("ingest", "check", "prepare"):
        needs = NEEDS[name]
        done[name] = function(name)(run, **{key: done[needed] for key, needed in needs.items()})
        yield name, done[name]
    for slot in range(run.config.tuning.trials if run.config.tuning else 1):
        yield "trial", function("trial")(run, prepared=done["prepare"], slot=slot)
    yield "choose", function("choose")(run)


def function(name: str) -> Step:
    """The function of one step; its module is imported now."""
    found: Step = getattr(import_module(f"pipeline_tasks.steps.{name}"), name)
    return found
