"""The gate: numbers in, a verdict with reasons out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline_tasks.core.values import Answer
from pipeline_tasks.decisions.pairing import Pair, chance_of_gain, mcnemar
from pipeline_tasks.decisions.promotion import Cost, Judged, Scale, Slice, promotion
from pipeline_tasks.sections.settings import Promotion

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


NAN = float("nan")
LOSS = Pair(
    differences=(-0.03, -0.02, -0.01, -0.02), only_candidate_right=2, only_champion_right=20
)
NOISE = Pair(differences=(-0.03, 0.02, -0.01, 0.01), only_candidate_right=9, only_champion_right=11)
GAIN = Pair(differences=(0.03, 0.02, 0.01, 0.04), only_candidate_right=20, only_champion_right=2)
BARE = Pair(differences=(0.03, 0.02, 0.01, 0.04))
WORSE = Judged(100, 0.95, 0.97)


SCALES = {"rmse": Scale(is_error=True, has_unit=True), "log_loss": Scale(is_error=True)}


def paired(judged: Judged, pair: Pair) -> Judged:
    return Judged(judged.rows, judged.candidate, judged.champion, pair)


@pytest.mark.parametrize(
    ("rules", "splits", "answer", "reason"),
    [
        # without a threshold, a tie, too little data
        ({}, {"test": Judged(100, 0.5, None)}, Answer.YES, "no minimum is set"),
        ({}, {"test": Judged(100, 0.5, None)}, Answer.YES, "this is the first model"),
        ({}, {"test": Judged(100, NAN, None)}, Answer.NO, "nan on 100 test rows"),
        ({}, {"test": Judged(100, 0.9, 0.9)}, Answer.YES, "+0.0000, a tie, it may be worse by 0"),
        (
            {},
            {"test": Judged(100, 0.9, 0.9), "recent": Judged(60, 0.9, 0.9)},
            Answer.NO,
            "a tie, it must be better there",
        ),
        (
            {},
            {"test": Judged(100, 0.9, 0.9), "recent": Judged(6, 0.1, 0.9)},
            Answer.YES,
            "only 6 latest labelled rows, 30 needed: test decides",
        ),
        ({}, {"test": Judged(100, 0.9, NAN)}, Answer.NO, "champion's nan"),
        # what a paired test says of a loss, of a gain and of a tie
        (
            {},
            {"test": paired(WORSE, LOSS)},
            Answer.NO,
            "McNemar's test p 3.3e-05 that it is worse",
        ),
        ({}, {"test": paired(WORSE, NOISE)}, Answer.YES, "McNemar's test p 0.33"),
        ({}, {"test": WORSE}, Answer.NO, "no paired test: nothing was resampled"),
        (
            {},
            {"test": paired(Judged(100, 0.97, 0.95), GAIN)},
            Answer.YES,
            "McNemar's test p 3.3e-05 that it is better by chance",
        ),
        (
            {},
            {"test": paired(Judged(100, 0.9, 0.9), Pair((0.0, 0.01, -0.01), 7, 7))},
            Answer.YES,
            "a tie, it may be worse by 0, or more if that may be chance at 95%, McNemar's test p "
            "0.5 that it is worse",
        ),
        ({"on_test": "not_worse"}, {"test": paired(WORSE, NOISE)}, Answer.NO, "p 0.33"),
        ({"on_test": "not_worse"}, {"test": paired(WORSE, LOSS)}, Answer.NO, "p 3.3e-05"),
        (
            {"margin": 0.05},
            {"test": paired(WORSE, LOSS)},
            Answer.YES,
            "it may be worse by 0.05",
        ),
        (
            {"on_test": "proven_not_worse", "margin": 0.05},
            {"test": paired(WORSE, LOSS)},
            Answer.YES,
            "paired bootstrap p 0 that it is within that",
        ),
        (
            {"on_test": "proven_not_worse", "margin": 0.02},
            {"test": paired(Judged(100, 0.96, 0.97), LOSS)},
            Answer.NO,
            "which must be proven at 95%",
        ),
        ({"on_test": "proven_not_worse", "margin": 0.05}, {"test": WORSE}, Answer.NO, "proven"),
        # where production has been labelled
        (
            {"on_recent": "proven_better"},
            {"test": WORSE, "recent": paired(Judged(60, 0.9, 0.6), GAIN)},
            Answer.YES,
            "McNemar's test p 3.3e-05 that it is better by chance",
        ),
        (
            {"on_recent": "proven_better"},
            {"test": WORSE, "recent": paired(Judged(60, 0.62, 0.6), NOISE)},
            Answer.NO,
            "it must be proven better there at 95%",
        ),
        (
            {"on_recent": "proven_better", "confidence": 0.6},
            {"test": WORSE, "recent": paired(Judged(60, 0.62, 0.6), BARE)},
            Answer.YES,
            "paired bootstrap p 0",
        ),
        (
            {"on_recent": "proven_not_worse", "margin": 0.02},
            {"test": WORSE, "recent": paired(Judged(60, 0.59, 0.6), Pair((-0.01, -0.01)))},
            Answer.YES,
            "it may be worse by 0.02, which must be proven at 95%",
        ),
        (
            {"on_recent": "proven_not_worse", "margin": 0.02},
            {"test": WORSE, "recent": paired(Judged(60, 0.59, 0.6), Pair((-0.05, 0.03)))},
            Answer.NO,
            "p 0.5 that it is within that",
        ),
        ({}, {"test": WORSE, "recent": paired(Judged(60, 0.9, 0.6), GAIN)}, Answer.YES, "better"),
        # errors: lower is better
        (
            {"metric": "rmse", "minimum": 2.0},
            {"test": Judged(100, 1.5, None)},
            Answer.YES,
            "maximum",
        ),
        (
            {"metric": "rmse", "minimum": 2.0},
            {"test": Judged(100, 2.5, None)},
            Answer.NO,
            "rmse 2.5000 on 100 test rows is not at most the maximum 2",
        ),
        ({"metric": "rmse"}, {"test": Judged(100, 1.5, 1.6)}, Answer.YES, "lower is better"),
        (
            {"metric": "rmse", "margin": 0.02},
            {"test": Judged(100, 5090.0, 5000.0)},
            Answer.YES,
            "+90.0000, lower is better, it may be worse by 100 (0.02 of the champion's)",
        ),
        (
            {"metric": "log_loss", "margin": 0.02},
            {"test": Judged(100, 0.55, 0.5)},
            Answer.NO,
            "it may be worse by 0.02, or",
        ),
        (
            {"metric": "rmse"},
            {"test": Judged(100, 1.7, 1.6)},
            Answer.NO,
            "+0.1000, lower is better",
        ),
        (
            {"metric": "rmse"},
            {"test": Judged(100, 1.5, 1.6), "recent": Judged(60, 2.0, 3.0)},
            Answer.YES,
            "-1.0000, lower is better, it must be better there",
        ),
        (
            {"metric": "rmse", "on_recent": "proven_better"},
            {"test": WORSE, "recent": paired(Judged(60, 1.0, 1.2), Pair((-0.2, -0.1, -0.3)))},
            Answer.YES,
            "p 0 that it is better",
        ),
        # thresholds of other metrics
        (
            {"thresholds": {"f1": 0.8, "log_loss": 0.5}},
            {"test": Judged(100, 0.9, None, others={"f1": 0.85, "log_loss": 0.4})},
            Answer.YES,
            "log_loss 0.4000 on 100 test rows is at most the maximum 0.5",
        ),
        (
            {"thresholds": {"f1": 0.8, "log_loss": 0.5}},
            {"test": Judged(100, 0.9, None, others={"f1": 0.85, "log_loss": 0.6})},
            Answer.NO,
            "log_loss 0.6000 on 100 test rows is not at most",
        ),
        (
            {"thresholds": {"f1": 0.8}},
            {"test": Judged(100, 0.9, None)},
            Answer.NO,
            "f1 nan on 100 test rows is below the minimum 0.8",
        ),
    ],
)
def test_a_table_of_cases(rules, splits, answer, reason):
    verdict = promotion(Promotion.model_validate(rules), splits, scales=SCALES)
    assert verdict.answer is answer, verdict.reasons
    assert reason in "; ".join(verdict.reasons)


SAME = Slice("colour green", 50, 0.9, 0.9)


@pytest.mark.parametrize(
    ("slices", "answer", "reason"),
    [
        (
            (SAME, Slice("colour red", 40, 0.6, 0.8)),
            Answer.NO,
            "slice colour red: accuracy 0.6000 against the champion's 0.8000 on the same 40 rows "
            "(-0.2000, it may be worse by 0.05)",
        ),
        ((SAME, Slice("colour red", 29, 0.6, 0.8)), Answer.YES, "in none of 1 slices"),
        ((SAME, Slice("colour red", 29, 0.6, 0.8)), Answer.YES, "1 more have fewer than 30 rows"),
        ((SAME, Slice("colour red", 40, 0.77, 0.8)), Answer.YES, "in none of 2 slices"),
        ((SAME, Slice("colour red", 40, NAN, NAN)), Answer.YES, "in none of 2 slices"),
        ((SAME, Slice("colour red", 40, NAN, 0.8)), Answer.NO, "slice colour red: accuracy nan"),
    ],
)
def test_a_slice_that_gets_worse_refuses_the_whole(slices, answer, reason):
    verdict = promotion(Promotion(), {"test": Judged(100, 0.9, 0.9, slices=slices)})
    assert verdict.answer is answer, verdict.reasons
    assert reason in "; ".join(verdict.reasons)


def test_a_slice_of_errors_gets_worse_when_they_grow():
    splits = {"test": Judged(100, 1.0, 1.0, slices=(Slice("x", 40, 1.2, 1.0),))}
    rules = Promotion(metric="rmse")
    assert not promotion(rules, splits, scales=SCALES).is_yes
    shrunk = {"test": Judged(100, 1.0, 1.0, slices=(Slice("x", 40, 0.8, 1.0),))}
    assert promotion(rules, shrunk, scales=SCALES).is_yes


def test_a_slice_in_the_label_s_unit_may_be_worse_by_a_share():
    splits = {"test": Judged(100, 900.0, 900.0, slices=(Slice("x", 40, 940.0, 900.0),))}
    verdict = promotion(Promotion(metric="rmse"), splits, scales=SCALES)
    assert verdict.is_yes
    assert "by more than 0.05 of its" in verdict.reasons[-1]


@pytest.mark.parametrize(
    ("test", "answer"),
    [
        (Judged(100, 0.95, None), Answer.NOT_ENOUGH_DATA),
        (Judged(100, 0.85, None), Answer.NO),
        (Judged(20, 0.95, None), Answer.NOT_ENOUGH_DATA),
    ],
)
def test_a_champion_that_cannot_be_compared_with_is_replaced_by_a_person_alone(test, answer):
    obstacles = ["it takes colour, which the rows do not have"]
    verdict = promotion(RULES, {"test": test}, obstacles=obstacles)
    assert verdict.answer is answer
    assert "the champion cannot be compared with: it takes colour" in verdict.reasons[0]
    assert "first model" not in "; ".join(verdict.reasons)
    approved = promotion(RULES, {"test": test}, obstacles=obstacles, approved_by="Ada")
    assert approved.is_yes
    assert "it takes colour" in "; ".join(approved.reasons)


@pytest.mark.parametrize(
    ("cost", "answer", "reason"),
    [
        (Cost(1000, 2.0), Answer.YES, "weights: 1,000 bytes are within the limit 1,000"),
        (Cost(1001, 2.0), Answer.NO, "weights: 1,001 bytes are above the limit 1,000"),
        (Cost(1000, 9.5), Answer.NO, "answers: 9.5 ms for 1000 rows are above the limit 5"),
        (Cost(), Answer.YES, "not known"),
        (None, Answer.YES, "not known"),
    ],
)
def test_size_and_speed_have_limits_where_they_are_known(cost, answer, reason):
    rules = Promotion(maximum_bytes=1000, maximum_ms_per_1000_rows=5)
    verdict = promotion(rules, {"test": Judged(100, 0.9, None)}, cost=cost)
    assert verdict.answer is answer
    assert reason in "; ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("judged", "said", "reason"),
    [
        (Judged(100, 0.5, None), "no", "accuracy 0.5000 on 100 test rows is below"),
        (Judged(20, 0.95, None), "not enough data", "20 test rows, 30 needed"),
    ],
)
def test_a_person_may_approve_what_the_rules_refuse_and_the_reasons_stay(judged, said, reason):
    verdict = promotion(RULES, {"test": judged}, approved_by="Ada")
    assert verdict.is_yes
    assert verdict.reasons[0] == f"approved by Ada, although by the rules the answer is {said}:"
    assert reason in "; ".join(verdict.reasons[1:])


def test_what_the_rules_allow_needs_nobodys_approval():
    splits = {"test": Judged(100, 0.95, None)}
    assert promotion(RULES, splits, approved_by="Ada") == promotion(RULES, splits)


@pytest.mark.parametrize(("more", "less"), [(0, 0), (1, 0), (7, 3), (3, 7), (40, 22), (700, 650)])
def test_mcnemars_test_is_the_binomial_one_with_half_of_the_tie(more, less):
    total = more + less
    expected = stats.binom.sf(more, total, 0.5) + 0.5 * stats.binom.pmf(more, total, 0.5)
    assert mcnemar(more, less) == pytest.approx(expected, abs=3e-4)
    assert mcnemar(more, less) + mcnemar(less, more) == pytest.approx(1.0)


def test_the_paired_bootstrap_counts_resamples_without_a_gain():
    pair = Pair(differences=(0.1, 0.2, -0.1, 0.0, NAN))
    assert chance_of_gain(pair, higher_is_better=True) == (0.375, "paired bootstrap")
    assert chance_of_gain(pair, higher_is_better=False)[0] == 0.625
    assert chance_of_gain(pair, higher_is_better=True, margin=0.15)[0] == 0.0
    assert np.isnan(chance_of_gain(Pair(), higher_is_better=True)[0])
