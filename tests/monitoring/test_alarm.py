"""The alarm: numbers in, a verdict with reasons out."""

from __future__ import annotations

import pytest

from pipeline_tasks.core.values import Answer
from pipeline_tasks.decisions.alarm import Drift, Quality, Service, alarm
from pipeline_tasks.production import Monitoring

RULES = Monitoring(minimum_rows=100, quality_drop=0.05, latency_p99_ms=100, memory_mb=1000)
STEADY = Drift("width", effect=0.01, p_value=0.5, is_drift=False)
MOVED = Drift("height", effect=0.4, p_value=1e-9, is_drift=True)


NAN = float("nan")


def quality(value: float, rows: int = 500, promoted: float = 0.95, **changes: bool) -> Quality:
    return Quality("accuracy", value, rows, promoted, 500, **changes)


def error(value: float, promoted: float, **changes: object) -> Quality:
    facts = {"has_unit": True, "spread": 1.0} | changes
    return Quality("rmse", value, 500, promoted, 500, is_error=True, **facts)


def judge(rows: int = 500, found=None, drifts=(STEADY,), service=None):
    return alarm(RULES, rows=rows, quality=found, drifts=drifts, service=service or Service(True))


def test_steady_inputs_and_good_answers_are_healthy_and_the_reasons_say_so():
    found = judge(found=quality(0.94))
    assert found.verdict.answer is Answer.NO
    assert "1.0 points lower" in found.verdict.reasons[0]
    assert "none of 1 features has drifted" in found.verdict.reasons


@pytest.mark.parametrize(
    ("changes", "causes", "reason"),
    [
        ({"found": quality(0.8)}, ("quality",), "15.0 points lower"),
        ({"found": quality(NAN, has_answers=False)}, ("quality",), "accuracy nan"),
        (
            {"found": error(130.0, 100.0)},
            ("quality",),
            "rmse 130 on 500 labelled rows, 100 when promoted: 30 higher (alarm at 5 higher",
        ),
        (
            {"found": error(0.4, 0.3, has_unit=False, spread=0.01)},
            ("quality",),
            "rmse 0.4 on 500 labelled rows, 0.3 when promoted: 0.1 higher (alarm at 0.05 higher",
        ),
        ({"drifts": (STEADY, MOVED)}, ("drift",), "1 of 2 features have drifted: height by 0.40"),
        ({"service": Service(False)}, ("service",), "does not answer"),
        (
            {"service": Service(True, 5.0, 150.0)},
            ("service",),
            "p50 5.0 ms, p99 150.0 ms (limit 100)",
        ),
        ({"service": Service(True, 1.0, 2.0, 2000.0)}, ("service",), "2000 MB (limit 1000)"),
        ({"found": quality(0.5), "drifts": (MOVED,)}, ("quality", "drift"), "45.0 points"),
    ],
)
def test_what_is_wrong_is_named_with_its_numbers(changes, causes, reason):
    found = judge(**changes)
    assert found.verdict.answer is Answer.YES
    assert found.causes == causes
    assert reason in "; ".join(found.verdict.reasons)


def test_a_fall_that_may_be_an_accident_is_no_alarm():
    few = judge(found=quality(0.89, rows=100))
    many = judge(found=quality(0.89, rows=2000))
    assert few.verdict.answer is Answer.NO
    assert many.verdict.answer is Answer.YES


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (error(103.0, 100.0), "3 higher (alarm at 5 higher"),
        (error(130.0, 100.0, spread=20.0), "30 higher"),
        (error(50.0, 100.0), "50 lower (alarm at 5 higher"),
    ],
)
def test_an_error_that_fell_rose_little_or_by_accident_is_no_alarm(found, reason):
    judged = judge(found=found)
    assert judged.verdict.answer is Answer.NO
    assert reason in judged.verdict.reasons[0]


def test_a_metric_that_is_not_defined_is_no_alarm_and_no_proof_of_health():
    one_class = quality(NAN)
    assert judge(found=one_class).verdict.answer is Answer.NO
    alone = judge(rows=0, found=one_class)
    assert alone.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert "accuracy is not defined on 500 labelled rows" in alone.verdict.reasons[1]
    promoted = judge(rows=0, found=quality(0.9, promoted=NAN))
    assert promoted.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert "not defined on its promotion's rows" in promoted.verdict.reasons[1]


def test_too_little_data_is_a_verdict_of_its_own():
    found = judge(rows=99, found=quality(0.2, rows=99), drifts=(MOVED,))
    assert found.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert "99 predictions and 99 labelled rows" in found.verdict.reasons[0]


def test_a_server_that_is_down_is_an_alarm_even_without_data():
    assert judge(rows=0, service=Service(False)).causes == ("service",)
