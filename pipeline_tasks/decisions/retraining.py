"""Is a degraded verdict worth a training run?"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.production import Retraining

MENDED_BY_TRAINING = {"quality", "drift"}


@dataclass(frozen=True)
class Evidence:
    """What is known when the decision is made.

    labelled: labelled observations since the champion was promoted. answered: this episode has had
    its retraining. minutes_since: since the last retraining began; None before the first.
    """

    is_degraded: bool
    causes: tuple[str, ...]
    reasons: tuple[str, ...]
    labelled: int
    is_answered: bool
    minutes_since: float | None


def retraining(rules: Retraining, evidence: Evidence) -> Verdict:
    """Yes when training can mend what is wrong, has what it needs, and has not been tried yet."""
    if not evidence.is_degraded:
        return _no("production is not degraded")
    if not MENDED_BY_TRAINING & set(evidence.causes):
        return _no(
            "retraining does not mend this; look at the server: " + "; ".join(evidence.reasons)
        )
    if evidence.is_answered:
        return _no(
            "this episode has had its retraining; if that did not help, look at the new data, "
            "or trigger the training by hand"
        )
    if evidence.labelled < rules.minimum_labelled:
        waiting = f"waits for labels: {evidence.labelled} of {rules.minimum_labelled}"
        return Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(waiting,))
    since = evidence.minutes_since
    if since is not None and since < rules.cooldown_minutes:
        return _no(
            f"the last retraining began {since:.0f} minutes ago, "
            f"the cool-down is {rules.cooldown_minutes:g} minutes"
        )
    enough = f"{evidence.labelled} labelled observations to learn from"
    return Verdict(answer=Answer.YES, reasons=(*evidence.reasons, enough))


def _no(reason: str) -> Verdict:
    return Verdict(answer=Answer.NO, reasons=(reason,))
