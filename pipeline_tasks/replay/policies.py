"""When to train: never, by a calendar, by chance, or when production calls for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline_tasks.core.values import Answer
from pipeline_tasks.decisions.changes import Errors, look, redrawn
from pipeline_tasks.decisions.retraining import (
    QUALITY,
    Evidence,
    Regime,
    follow_up_rows,
    retraining,
)
from pipeline_tasks.sections.production import Budget, Retraining
from pipeline_tasks.sections.settings import Promotion

MINUTES_A_DAY = 1440.0
WEEK = 7


@dataclass(frozen=True)
class Rules:
    """What decides: the sections of a pipeline file, and how many of the newest rows train.

    A block of rows is a day.
    """

    retraining: Retraining
    promotion: Promotion
    window: int = 2000


# A budget of an eighth of a nightly schedule's trainings; chosen on other seeds than are reported.
USUAL = Rules(
    retraining=Retraining(
        budget=Budget(retrainings=11, days=90),
        ask_after=0,
        minimum_labelled=300,
        maximum_age_days=10,
        follow_ups=2,
        follow_up_rows=2000,
        maximum_recent=100,
        refit=True,
    ),
    promotion=Promotion(on_recent="proven_not_worse", margin=0.03),
)


class Policy(Protocol):
    """What is asked after each block; all of them count blocks from 1."""

    def reason(self, block: int, wrong: float) -> str:
        """Why to train now; empty for no. wrong: the share of this block's answers."""

    def has_trained(self, block: int, *, is_promoted: bool) -> None:
        """What became of the last reason, or of a candidate that had to wait."""


@dataclass(frozen=True)
class Calendar:
    """After these blocks, whatever happens."""

    blocks: Collection[int]

    def reason(self, block: int, wrong: float) -> str:
        """The calendar's only one."""
        del wrong
        return "calendar" if block in self.blocks else ""

    def has_trained(self, block: int, *, is_promoted: bool) -> None:
        """Nothing follows from it."""


def every(days: int, blocks: int) -> Calendar:
    """One training in so many days."""
    return Calendar(range(days, blocks + 1, days))


def spread(trainings: int, blocks: int) -> Calendar:
    """So many trainings, as far apart as they can be.

    >>> sorted(spread(3, 100).blocks)
    [25, 50, 75]
    """
    return Calendar({round((one + 1) * blocks / (trainings + 1)) for one in range(trainings)})


def by_chance(trainings: int, blocks: int, seed: int) -> Calendar:
    """So many trainings at random: alarms that mean nothing may help as well."""
    import numpy as np

    chosen = np.random.default_rng(seed).choice(blocks, size=min(trainings, blocks), replace=False)
    return Calendar({int(one) + 1 for one in chosen})


class Triggered:
    """The decisions of production: `changes` watches the errors, `retraining` says yes or no."""

    def __init__(self, rules: Retraining, block_rows: int) -> None:
        self._rules, self._rows = rules, block_rows
        self._errors = Errors(block_rows=block_rows)
        self._alarm = ""
        self._regime: Regime | None = None
        self._trained: list[int] = []

    @property
    def changed(self) -> int | None:
        """After how many blocks the world is thought to have changed; None: never."""
        return self._errors.changed

    def reason(self, block: int, wrong: float) -> str:
        """What calls for training, if the rules allow it."""
        self._errors = look(self._errors, wrong)
        self._alarm = self._errors.reason or self._alarm
        if self._errors.reason:
            self._regime = None
        decision = retraining(self._rules, self._evidence(block))
        # There is nobody to ask in a replay: whoever would be asked says yes.
        if decision.verdict.answer not in (Answer.YES, Answer.ASK):
            return ""
        self._learn_of(block)
        return "; ".join(decision.verdict.reasons)

    def has_trained(self, block: int, *, is_promoted: bool) -> None:
        """A new champion has a chart of its own."""
        if is_promoted:
            self._errors = redrawn(self._errors)

    def _evidence(self, block: int) -> Evidence:
        since = block - (self._trained[-1] if self._trained else 0)
        rows = self._rows * (block - (self.changed or 0))
        regime = self._regime and replace(self._regime, rows=rows)
        return Evidence(
            causes=(QUALITY,) if self._alarm else (),
            reasons=(self._alarm,) if self._alarm else (),
            labelled=rows,
            new_rows=self._rows * since,
            age_days=float(since),
            minutes_since=since * MINUTES_A_DAY if self._trained else None,
            retrainings=_within(self._trained, block, self._rules.budget.days),
            regime=regime,
        )

    def _learn_of(self, block: int) -> None:
        """One training answers the alarm, and every follow-up that is due."""
        self._trained.append(block)
        rows = self._rows * (block - (self.changed or 0))
        if self._alarm:
            self._alarm, self._regime = "", Regime(rows=rows, first_rows=rows)
        elif self._regime:
            due = follow_up_rows(self._regime.first_rows, self._rules)
            done = max(self._regime.follow_ups, sum(rows >= one for one in due))
            self._regime = replace(self._regime, follow_ups=done)


def _within(trained: Sequence[int], block: int, days: float) -> int:
    return sum(block - one < days for one in trained)
