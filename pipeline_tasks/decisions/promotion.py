"""May the candidate replace the champion?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.settings import Promotion


@dataclass(frozen=True)
class Judged:
    """The promotion metric on one split; higher is better."""

    rows: int
    candidate: float
    champion: float | None


def promotion(rules: Promotion, splits: Mapping[str, Judged]) -> Verdict:
    """Yes when the candidate is good enough, and better where production has been labelled.

    splits: `test` always, `recent` when there are enough labelled observations. On `recent` the
    candidate must beat the champion; without it, it must not fall behind on `test` by more than
    the margin. `minimum` is asked of the test rows, which drift does not touch.
    """
    test = splits["test"]
    if test.rows < rules.minimum_rows:
        return Verdict(
            answer=Answer.NOT_ENOUGH_DATA,
            reasons=(f"{test.rows} test rows, {rules.minimum_rows} needed to prove anything",),
        )
    reasons, passed = [], []
    for is_passed, reason in _checks(rules, test, splits.get("recent")):
        passed.append(is_passed)
        reasons.append(reason)
    return Verdict(answer=Answer.YES if all(passed) else Answer.NO, reasons=tuple(reasons))


def _checks(rules: Promotion, test: Judged, recent: Judged | None) -> list[tuple[bool, str]]:
    metric = rules.metric
    above = test.candidate >= rules.minimum
    checks = [
        (
            above,
            f"{metric} {test.candidate:.4f} on {test.rows} test rows is "
            f"{'at least' if above else 'below'} the minimum {rules.minimum:g}",
        )
    ]
    judged, where = (recent, "latest labelled") if recent else (test, "test")
    if judged.champion is None:
        return [*checks, (True, "there is no other champion to compare with")]
    gain = judged.candidate - judged.champion
    better = gain > 0 if recent else gain >= -rules.margin
    wanted = "it must be better there" if recent else f"it may be worse by {rules.margin:g}"
    return [
        *checks,
        (
            better,
            f"{metric} {judged.candidate:.4f} against the champion's {judged.champion:.4f} "
            f"on the same {judged.rows} {where} rows ({gain:+.4f}; {wanted})",
        ),
    ]
