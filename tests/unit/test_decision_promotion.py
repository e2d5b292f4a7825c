"""The gate: numbers in, a verdict with reasons out."""

from __future__ import annotations

import pytest

from pipeline_tasks.core.values import Answer
from pipeline_tasks.decisions.promotion import Judged, promotion
from pipeline_tasks.settings import Promotion

RULES = Promotion(minimum=0.9, margin=0.01, minimum_rows=30)


@pytest.mark.parametrize(
    ("test", "recent", "answer", "reason"),
    [
        (Judged(100, 0.95, None), None, Answer.YES, "no other champion"),
        (Judged(100, 0.85, None), None, Answer.NO, "below the minimum 0.9"),
        (Judged(29, 0.99, None), None, Answer.NOT_ENOUGH_DATA, "29 test rows, 30 needed"),
        (Judged(100, 0.95, 0.955), None, Answer.YES, "may be worse by 0.01"),
        (Judged(100, 0.95, 0.97), None, Answer.NO, "-0.0200"),
        (Judged(100, 0.95, 0.97), Judged(50, 0.8, 0.5), Answer.YES, "latest labelled rows (+0.3"),
        (Judged(100, 0.95, 0.90), Judged(50, 0.5, 0.5), Answer.NO, "it must be better there"),
        (Judged(100, 0.85, 0.97), Judged(50, 0.8, 0.5), Answer.NO, "below the minimum"),
        (Judged(100, float("nan"), None), None, Answer.NO, "below the minimum"),
        (Judged(100, 0.95, 0.9), Judged(50, float("nan"), 0.5), Answer.NO, "must be better"),
    ],
)
def test_the_candidate_is_judged_where_it_matters(test, recent, answer, reason):
    splits = {"test": test} | ({"recent": recent} if recent else {})
    verdict = promotion(RULES, splits)
    assert verdict.answer is answer
    assert reason in "; ".join(verdict.reasons)
