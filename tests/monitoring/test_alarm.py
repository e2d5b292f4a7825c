"""The alarm: numbers in, a verdict with reasons out."""

from __future__ import annotations

import pytest

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.decisions.alarm import Charted, Drift, Quality, Service, alarm
from pipeline_tasks.sections.production import Monitoring

RULES = Monitoring(minimum_rows=100, quality_drop=0.05, latency_p99_ms=100, memory_mb=1000)
STEADY = Drift(Verdict(answer=Answer.NO, reasons=("none of 2 has drifted",)))
MOVED = Drift(Verdict(answer=Answer.YES, reasons=("height: drifted by 0.40",)), ("height",))
FEW = Drift(Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=("99 predictions, 100 needed",)))
QUIET = Charted("EWMA", "quality", False, "error rate 3.0 %, as expected")
RISEN = Charted("EWMA", "quality", True, "error rate 9.0 %, 3.0 % expected")
FAILING = Charted("EWMA", "service", True, "5.0 % of the requests failed")


NAN = float("nan")


def quality(value: float, rows: int = 500, promoted: float = 0.95, **changes: bool) -> Quality:
    return Quality("accuracy", value, rows, promoted, 500, **changes)


def error(value: float, promoted: float, **changes: object) -> Quality:
    facts = {"has_unit": True, "spread": 1.0} | changes
    return Quality("rmse", value, 500, promoted, 500, is_error=True, **facts)


def judge(found=None, drift=STEADY, service=None, charts=(), hints=()):
    server = service or Service(True)
    return alarm(RULES, quality=found, drift=drift, charts=charts, service=server, hints=hints)


def test_steady_inputs_and_good_answers_are_healthy_and_the_reasons_say_so():
    found = judge(found=quality(0.94))
    assert found.verdict.answer is Answer.NO
    assert "1.0 points lower" in found.verdict.reasons[0]
    assert "none of 2 has drifted" in found.verdict.reasons


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
        ({"drift": MOVED}, ("drift",), "height: drifted by 0.40"),
        ({"charts": (QUIET, RISEN)}, ("quality",), "error rate 9.0 %, 3.0 % expected"),
        ({"charts": (FAILING,)}, ("service",), "5.0 % of the requests failed"),
        ({"service": Service(False)}, ("service",), "does not answer"),
        (
            {"service": Service(True, 5.0, 9.0, 150.0)},
            ("service",),
            "p50 5.0 ms, p99 150.0 ms (limit 100)",
        ),
        ({"service": Service(True, 1.0, 2.0, 2.0, 2000.0)}, ("service",), "2000 MB (limit 1000)"),
        ({"found": quality(0.5), "drift": MOVED}, ("quality", "drift"), "45.0 points"),
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
    alone = judge(drift=FEW, found=one_class)
    assert alone.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert "accuracy is not defined on 500 labelled rows" in alone.verdict.reasons[2]
    promoted = judge(drift=FEW, found=quality(0.9, promoted=NAN))
    assert promoted.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert "not defined on its promotion's rows" in promoted.verdict.reasons[2]


def test_too_little_data_is_a_verdict_of_its_own():
    found = judge(found=quality(0.2, rows=99), drift=FEW)
    assert found.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert found.verdict.reasons == (
        "99 predictions, 100 needed",
        "99 labelled rows since the last verdict, 100 needed",
    )


def test_a_hint_is_said_and_never_acted_on():
    healthy = judge(hints=("accuracy estimated without labels 0.2",))
    assert healthy.verdict.answer is Answer.NO
    assert judge(drift=FEW, hints=("low",)).verdict.answer is Answer.NOT_ENOUGH_DATA
    degraded = judge(drift=MOVED, hints=("low",))
    assert degraded.verdict.reasons[-1] == "low"
    assert degraded.causes == ("drift",)


def test_a_chart_alone_is_enough_to_be_judged_healthy():
    assert judge(drift=FEW, charts=(QUIET,)).verdict.answer is Answer.NO


def test_a_server_that_is_down_is_an_alarm_even_without_data():
    assert judge(drift=FEW, service=Service(False)).causes == ("service",)
