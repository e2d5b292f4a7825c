"""The page of one run: what each step did, what was reused, and how training goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import keys
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Ref
from pipeline_tasks.learning.checkpoint import CURVES
from pipeline_tasks.pages import curves
from pipeline_tasks.pages.activity import RunSeen
from pipeline_tasks.pages.files import Files

DECIDING = {"gate", "verify", "decide", "monitor", "bake", "shadow"}


@dataclass(frozen=True)
class StepSeen:
    """One task of the run. seconds: how long it took, where it has ended."""

    id: str
    state: str
    seconds: float | None = None
    left: Ref | None = None

    @property
    def reused_from(self) -> str:
        """The run whose artifact was used again; empty when this run made it."""
        return self.left.run if self.left and self.left.reused else ""

    @property
    def reasons(self) -> list[str]:
        """Of a step that decides: why."""
        text = self.left.summary.get("reasons") if self.left else None
        return str(text).split("; ") if text else []

    @property
    def answer(self) -> str:
        """Of a step that decides: yes, no or not_enough_data."""
        return str(self.left.summary.get("answer", "")) if self.left else ""


@dataclass(frozen=True)
class Progress:
    """Training under way. seconds_left: at most, if every remaining epoch is needed."""

    curves: Mapping[str, list[float]]
    epochs: int

    @property
    def done(self) -> int:
        """Epochs done."""
        return len(self.curves["loss"])

    @property
    def seconds_left(self) -> float:
        """At most: training may stop early."""
        each = self.curves["seconds"]
        # The first epoch also compiles.
        typical = each[1:] or each
        return (self.epochs - self.done) * sum(typical) / len(typical)


@dataclass(frozen=True)
class RunPage:
    """Everything the page shows."""

    config: PipelineConfig
    kind: str
    run: RunSeen
    steps: Sequence[StepSeen]
    progress: Progress | None
    learned: Mapping[str, Any] | None

    @property
    def verdict(self) -> StepSeen | None:
        """The step that decided last."""
        found = [one for one in self.steps if one.answer]
        return found[-1] if found else None

    @property
    def gate(self) -> StepSeen | None:
        """What the gate said, where there is one."""
        return next((one for one in self.steps if one.id == "gate" and one.answer), None)

    @property
    def learning(self) -> Markup:
        """Loss by epoch, up to now."""
        if self.progress:
            return curves.learning(self.progress.curves, of=self.progress.epochs)
        return curves.learning(self.learned)


def run_page(
    store: Store,
    files: Files,
    config: PipelineConfig,
    run: RunSeen,
    steps: Sequence[StepSeen],
    *,
    kind: str,
    epochs: int | None = None,
) -> RunPage:
    """Gather it. epochs: what the trigger form said, where it was asked."""
    training = next((one for one in steps if one.id == "train"), None)
    is_training = training is not None and training.state in ("running", "up_for_retry")
    learned = training.left if training else None
    return RunPage(
        config=config,
        kind=kind,
        run=run,
        steps=steps,
        progress=progress(store, config, run.id, epochs) if is_training else None,
        learned=files.json(learned, "curves.json") if learned else None,
    )


def progress(store: Store, config: PipelineConfig, run: str, epochs: int | None) -> Progress | None:
    """Where training stands, from the curves beside its newest checkpoint."""
    text = store.kept.read(f"{keys.scratch(config.name, run, 'train')}/{CURVES}")
    found = json.loads(text) if text else None
    return Progress(found, epochs or config.training.epochs) if found and found["loss"] else None
