"""Did the model learn too little, or its training rows by heart? And what to change about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Shares of the naive loss: a gap between two splits, and the least that must be learned.
GAP, LEARNED = 0.1, 0.1
# A rise after the best validation loss, as a share of that or of what was gained until then; and
# a fall that goes on in the last epoch, as a share of the loss.
RISE, FALL = 0.1, 0.01


@dataclass(frozen=True)
class Evidence:
    """What training and evaluation have left.

    loss, validation_loss: one number an epoch. losses: the mean loss (log loss, or squared error)
    of `train`, `validation` and `test` rows without dropout and penalties. naive: that of the naive
    answer. rows: trained on. model, training: the settings by name.
    """

    loss: Sequence[float]
    validation_loss: Sequence[float]
    losses: Mapping[str, float]
    naive: float
    rows: int
    model: Mapping[str, Any]
    training: Mapping[str, Any]

    @property
    def best_epoch(self) -> int:
        """From 1."""
        return list(self.validation_loss).index(min(self.validation_loss)) + 1

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.validation_loss)

    def learned(self, split: str) -> float:
        """The share of the naive loss that the model took away; NaN where there was none."""
        return 1.0 - self.losses[split] / self.naive if self.naive > 0 else math.nan


@dataclass(frozen=True)
class Diagnosis:
    """fit: `good`, `overfit` or `underfit`, with what was seen and what to change."""

    fit: str
    findings: tuple[str, ...]
    hints: tuple[str, ...]


def diagnose(evidence: Evidence) -> Diagnosis:
    """Overfit: far better on training rows than on others, or a validation loss that rose again.

    Underfit: hardly better than the naive answer even on training rows, or still getting better
    when the epochs were over.
    """
    by_heart, too_little = list(_overfit(evidence)), list(_underfit(evidence))
    moved = list(_moved(evidence))
    if by_heart:
        return Diagnosis("overfit", (*by_heart, *moved), tuple(_against_overfit(evidence)))
    if too_little:
        return Diagnosis("underfit", (*too_little, *moved), tuple(_against_underfit(evidence)))
    return Diagnosis("good", tuple(moved) or (_good(evidence),), ())


def _good(evidence: Evidence) -> str:
    return (
        f"the loss is {evidence.losses['train']:.4g} on training rows and "
        f"{evidence.losses['validation']:.4g} on validation rows (naive {evidence.naive:.4g}): "
        "neither too little was learned, nor by heart"
    )


def _overfit(evidence: Evidence) -> Iterator[str]:
    gap = evidence.learned("train") - evidence.learned("validation")
    if gap > GAP:
        yield (
            f"the loss is {evidence.losses['train']:.4g} on training rows but "
            f"{evidence.losses['validation']:.4g} on validation rows"
        )
    first, last = evidence.validation_loss[0], evidence.validation_loss[-1]
    best = min(evidence.validation_loss)
    falls = evidence.loss[-1] < evidence.loss[evidence.best_epoch - 1]
    if falls and last - best > RISE * max(first - best, best):
        yield (
            f"after epoch {evidence.best_epoch} the validation loss rose from {best:.4g} to "
            f"{last:.4g} while the training loss went on falling"
        )


def _underfit(evidence: Evidence) -> Iterator[str]:
    if evidence.learned("train") < LEARNED:
        yield (
            f"even on training rows the loss is {evidence.losses['train']:.4g}, hardly below the "
            f"{evidence.naive:.4g} of a model without inputs"
        )
    if _is_cut_short(evidence):
        yield f"the validation loss was still falling in the last epoch, {evidence.epochs}"


def _is_cut_short(evidence: Evidence) -> bool:
    if evidence.epochs < 2 or evidence.best_epoch < evidence.epochs:
        return False
    before, last = evidence.validation_loss[-2:]
    return before - last > FALL * abs(last)


def _moved(evidence: Evidence) -> Iterator[str]:
    if evidence.learned("validation") - evidence.learned("test") > GAP:
        yield (
            f"the loss is {evidence.losses['test']:.4g} on test rows but "
            f"{evidence.losses['validation']:.4g} on validation rows: they differ, or are few"
        )


def _against_overfit(evidence: Evidence) -> Iterator[str]:
    if evidence.best_epoch < evidence.epochs:
        patience = evidence.training.get("patience")
        yield (
            f"stop earlier: lower training.epochs to about {evidence.best_epoch}, or set "
            f"training.patience (now {patience})"
        )
    for name in ("dropout", "l2"):
        if name in evidence.model:
            yield f"raise model.{name} (now {evidence.model[name]:g})"
    if evidence.model.get("hidden"):
        yield f"use fewer units in model.hidden (now {_listed(evidence.model['hidden'])})"
    yield f"bring more data: {evidence.rows} rows were trained on"


def _against_underfit(evidence: Evidence) -> Iterator[str]:
    if _is_cut_short(evidence):
        yield (
            f"raise training.epochs (now {evidence.training.get('epochs')}) or "
            f"training.learning_rate (now {evidence.training.get('learning_rate')})"
        )
    if evidence.learned("train") >= LEARNED:
        return
    for name in ("dropout", "l2"):
        if evidence.model.get(name):
            yield f"lower model.{name} (now {evidence.model[name]:g})"
    if evidence.model.get("hidden"):
        yield f"use more units in model.hidden (now {_listed(evidence.model['hidden'])})"
    yield "add columns, or features made of them, that tell more about the label"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
