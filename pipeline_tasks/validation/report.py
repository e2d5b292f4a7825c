"""Everything measured on one split, as data: candidate, champion and a naive baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_tasks import metrics
from pipeline_tasks.core import registry
from pipeline_tasks.validation import intervals
from pipeline_tasks.validation.slices import Slice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    # By who answers: `candidate`, `baseline` and, where there is another one, `champion`.
    Answers = Mapping[str, NDArray[Any]]

CANDIDATE, CHAMPION, BASELINE = "candidate", "champion", "baseline"


@dataclass(frozen=True)
class Judge:
    """What is measured. classes: the label's, in their order; none for a number."""

    kinds: Sequence[str]
    resamples: int
    classes: Sequence[object] = ()

    def scores(self, truth: NDArray[Any], answer: NDArray[Any]) -> dict[str, float]:
        """Each metric of an answer: probabilities (n, classes), or values (n,)."""
        found = {}
        for kind in self.kinds:
            part = registry.part("metrics", kind)
            found[kind] = part.compute(truth, metrics.taken(part.NEEDS, answer))
        return found

    def split(
        self, truth: NDArray[Any], answers: Answers, slices: Sequence[Slice]
    ) -> dict[str, Any]:
        """The split's part of evaluation.json."""
        champion = answers.get(CHAMPION)
        report: dict[str, Any] = {
            "rows": len(truth),
            CANDIDATE: self.scores(truth, answers[CANDIDATE]),
            CHAMPION: None if champion is None else self.scores(truth, champion),
            BASELINE: known(self.scores(truth, answers[BASELINE])),
            "intervals": self._intervals(truth, answers),
            "slices": [self._slice(one, truth, answers) for one in slices],
            "confusion": None,
            "by_class": [],
        }
        if self.classes:
            table = confusion(truth, answers[CANDIDATE])
            report |= {"confusion": table, "by_class": by_class(table, self.classes)}
        return report

    def paired(self, truth: NDArray[Any], answers: Answers) -> dict[str, dict[str, Any]]:
        """By metric: what candidate and champion did on the same rows; nothing without one."""
        if CHAMPION not in answers:
            return {}
        return {kind: self._pair(kind, truth, answers) for kind in self.kinds}

    def _pair(self, kind: str, truth: NDArray[Any], answers: Answers) -> dict[str, Any]:
        part = registry.part("metrics", kind)
        differences = intervals.differences(part, truth, answers, self.resamples)
        found: dict[str, Any] = {
            "differences": [one for one in differences if not math.isnan(one)],
            "only_candidate_right": None,
            "only_champion_right": None,
        }
        if getattr(part, "IS_SHARE_OF_RIGHT_ROWS", False):
            mine, theirs = (answers[who].argmax(axis=1) == truth for who in (CANDIDATE, CHAMPION))
            found["only_candidate_right"] = int((mine & ~theirs).sum())
            found["only_champion_right"] = int((theirs & ~mine).sum())
        return found

    def _intervals(self, truth: NDArray[Any], answers: Answers) -> dict[str, Any]:
        """By who answers and metric: the ends of the 95 % interval."""
        judged = [who for who in (CANDIDATE, CHAMPION) if who in answers]
        found: dict[str, dict[str, Any]] = {who: {} for who in judged}
        for kind in self.kinds if self.resamples else ():
            part = registry.part("metrics", kind)
            each = intervals.resampled(part, truth, [answers[w] for w in judged], self.resamples)
            for who, resamples in zip(judged, each, strict=True):
                ends = intervals.interval(resamples)
                found[who][kind] = None if math.isnan(ends[0]) else ends
        return found

    def _slice(self, one: Slice, truth: NDArray[Any], answers: Answers) -> dict[str, Any]:
        mine = {who: answer[one.rows] for who, answer in answers.items()}
        found: dict[str, Any] = {
            "column": one.column,
            "value": one.value,
            "rows": int(one.rows.sum()),
            CHAMPION: None,
        }
        found |= {who: known(self.scores(truth[one.rows], part)) for who, part in mine.items()}
        only = {CANDIDATE: mine[CANDIDATE]}
        return found | {"intervals": self._intervals(truth[one.rows], only)[CANDIDATE]}


def known(scores: Mapping[str, float]) -> dict[str, float | None]:
    """NaN as null, which is what JSON knows."""
    return {name: None if math.isnan(value) else value for name, value in scores.items()}


def naive(labels: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """What a model without inputs answers: the classes' shares, (1, classes), or the mean, (1,).

    labels: of the training rows; classes: 0 for a number.
    """
    import numpy as np

    if not classes:
        return np.array([labels.mean(dtype=float)])
    return np.bincount(labels.astype(int), minlength=classes)[None, :] / len(labels)


def confusion(truth: NDArray[Any], shares: NDArray[Any]) -> list[list[int]]:
    """Rows: the true class; columns: the predicted one."""
    import numpy as np

    classes = shares.shape[1]
    places = truth.astype(int) * classes + shares.argmax(axis=1)
    table: list[list[int]] = (
        np.bincount(places, minlength=classes**2).reshape(classes, classes).tolist()
    )
    return table


def by_class(table: Sequence[Sequence[int]], classes: Sequence[object]) -> list[dict[str, Any]]:
    """Rows, predictions, precision, recall and F1 of each class; None where not defined."""
    found = []
    for index, name in enumerate(classes):
        hits, rows = table[index][index], sum(table[index])
        predicted = sum(line[index] for line in table)
        found.append(
            {
                "class": name,
                "rows": rows,
                "predicted": predicted,
                "precision": hits / predicted if predicted else None,
                "recall": hits / rows if rows else None,
                "f1": 2 * hits / (rows + predicted) if rows + predicted else None,
            }
        )
    return found


def sentence(split: str, report: Mapping[str, Any]) -> str:
    """The split's metrics as a log line."""
    each = "; ".join(_metric_text(kind, report) for kind in report[CANDIDATE])
    return f"{split}, {report['rows']} rows, with 95 % intervals: {each}"


def _metric_text(kind: str, report: Mapping[str, Any]) -> str:
    ends = report["intervals"][CANDIDATE].get(kind)
    others = {"champion": report[CHAMPION] or {}, "naive": report[BASELINE]}
    text = f"{kind} {report[CANDIDATE][kind]:.4g}"
    text += f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else ""
    for who, scores in others.items():
        value = scores.get(kind)
        text += "" if value is None else f", {who} {value:.4g}"
    return text
