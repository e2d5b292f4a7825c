"""When production is worth a training run: a pure decision."""

from __future__ import annotations

import pytest

from pipeline_tasks.core.values import Answer
from pipeline_tasks.decisions.retraining import Evidence, Regime, retraining
from pipeline_tasks.sections.production import Retraining

RULES = Retraining(
    cooldown_minutes=60, minimum_labelled=200, maximum_age_days=30, new_rows=5000, follow_ups=3
)
HEALTHY = Evidence(labelled=500, new_rows=500, age_days=3.0)
QUALITY = {"causes": ("quality",), "reasons": ("accuracy fell",)}


def decide(**changes: object):
    return retraining(RULES, Evidence(**(HEALTHY.__dict__ | changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "answer", "causes", "reason"),
    [
        ({}, Answer.NO, (), "not degraded"),
        (QUALITY, Answer.YES, ("quality",), "500 labelled observations"),
        (QUALITY | {"minutes_since": 61.0}, Answer.YES, ("quality",), "accuracy fell"),
        (QUALITY | {"causes": ("drift", "service")}, Answer.YES, ("drift",), "accuracy fell"),
        (QUALITY | {"causes": ("service",)}, Answer.NO, (), "look at the server: accuracy"),
        (QUALITY | {"is_answered": True}, Answer.NO, (), "has had its retraining"),
        (QUALITY | {"labelled": 199}, Answer.NOT_ENOUGH_DATA, ("quality",), "199 of 200"),
        (QUALITY | {"minutes_since": 10.0}, Answer.NO, ("quality",), "cool-down is 60 minutes"),
        (QUALITY | {"retrainings": 10}, Answer.NO, ("quality",), "10 retrainings in 7 days"),
        (QUALITY | {"in_vain": 2}, Answer.ASK, ("quality",), "last 2 retrainings brought no"),
        ({"age_days": 30.0}, Answer.YES, ("age",), "30.0 days ago, at most 30"),
        ({"age_days": 30.0, "labelled": 0}, Answer.YES, ("age",), "30.0 days ago"),
        ({"age_days": None}, Answer.NO, (), "not degraded"),
        ({"new_rows": 5000}, Answer.YES, ("volume",), "5000 labelled observations since"),
        ({"new_rows": 5000, "minutes_since": 1.0}, Answer.NO, ("volume",), "cool-down"),
        ({"regime": Regime(399, 200)}, Answer.NO, (), "not degraded"),
        ({"regime": Regime(400, 200)}, Answer.YES, ("follow_up",), "follow-up 1 of 3 is due at"),
        ({"regime": Regime(400, 200, is_over=True)}, Answer.NO, (), "not degraded"),
        ({"regime": Regime(599, 200, 1)}, Answer.NO, (), "not degraded"),
        ({"regime": Regime(600, 200, 1)}, Answer.YES, ("follow_up",), "follow-up 2 of 3"),
        ({"regime": Regime(9000, 200, 3)}, Answer.NO, (), "not degraded"),
        (
            QUALITY | {"is_answered": True, "regime": Regime(400, 200)},
            Answer.YES,
            ("follow_up",),
            "400 rows since the change",
        ),
    ],
)
def test_a_retraining_needs_a_cause_that_training_mends(changes, answer, causes, reason):
    decision = decide(**changes)
    assert decision.verdict.answer is answer, decision
    assert decision.causes == causes
    assert reason in "; ".join(decision.verdict.reasons)


def test_a_persons_wish_is_above_all_rules():
    decision = decide(forced="the catalogue is new", minutes_since=0.0, retrainings=99, in_vain=9)
    assert decision.verdict.is_yes
    assert decision.causes == ("forced",)
    assert decision.verdict.reasons == ("by hand: the catalogue is new",)


def test_no_person_is_asked_when_the_budget_is_spent_or_asking_is_off():
    assert decide(**QUALITY, in_vain=5, retrainings=10).verdict.answer is Answer.NO
    never = RULES.model_copy(update={"ask_after": 0})
    assert retraining(never, Evidence(**QUALITY, labelled=500, in_vain=5)).verdict.is_yes


def test_follow_ups_are_as_many_rows_apart_as_the_file_says():
    rules = RULES.model_copy(update={"follow_up_rows": 1000})
    early, due = (
        retraining(rules, Evidence(labelled=500, regime=Regime(rows, 200))) for rows in (1199, 1200)
    )
    assert early.verdict.answer is Answer.NO
    assert "1200 rows since the change, follow-up 1 of 3 is due at 1200" in due.verdict.reasons


def test_a_reason_that_two_causes_share_is_said_once():
    decision = decide(causes=("quality", "drift"), reasons=("accuracy fell", "age moved"))
    assert decision.causes == ("quality", "drift")
    assert decision.verdict.reasons.count("accuracy fell") == 1
