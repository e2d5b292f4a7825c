"""Charts that are learned from held-out rows and go on from look to look."""

from __future__ import annotations

import numpy as np
import pytest

from bench.streams import errors
from pipeline_tasks.validation import charting
from pipeline_tasks.validation.charting import Charts, State

DROP = 0.05


def answered(wrong):
    """Truths, and the answers that are wrong where this is 1."""
    shares = np.stack([1 - wrong, wrong], axis=1)
    return np.zeros(len(wrong), dtype=int), shares


def alarms(charts, stream, rows):
    """In which looks, of so many rows each, any chart alarms."""
    state, found = None, []
    for start in range(0, len(stream), rows):
        state = charting.go_on(charts, state, *answered(stream[start : start + rows]))
        found.append(any(one.is_alarm for one in charting.judge(charts, state, DROP)))
    return found


def learned(seed, rows, share=0.1):
    return charting.learn(*answered(errors(np.random.default_rng([seed, rows]), rows, share, 0)))


@pytest.mark.parametrize("rows", [150, 1000])
def test_steady_errors_seldom_alarm_however_short_the_reference(rows):
    looks = []
    for seed in range(8):
        stream = errors(np.random.default_rng([seed, 1]), 10_000, 0.1, 0)
        looks += alarms(learned(seed, rows), stream, 500)
    assert sum(looks) <= 3, "of 160; an alarm lasts for some looks"


def test_a_drop_that_small_windows_do_not_show_is_seen_over_some_of_them():
    for seed in range(8):
        stream = errors(np.random.default_rng([seed, 2]), 2000, 0.2, 0)
        assert any(alarms(learned(seed, 1000), stream, 50)[:20])


def test_a_rise_that_does_not_matter_is_no_alarm_however_certain():
    charts = learned(1, 50_000)
    stream = errors(np.random.default_rng(3), 50_000, 0.13, 0)
    state = charting.go_on(charts, None, *answered(stream))
    assert state.adwin.rises
    _, by_adwin = charting.judge(charts, state, DROP)
    assert not by_adwin.is_alarm


def test_an_alarm_lasts_as_long_as_the_level_does():
    charts, random = learned(2, 2000), np.random.default_rng(4)
    worse, better = errors(random, 3000, 0.4, 0), errors(random, 4000, 0.1, 0)
    found = alarms(charts, np.concatenate([worse, better]), 500)
    assert all(found[1:6])
    assert not any(found[-4:])


def test_how_rows_are_cut_into_looks_does_not_matter_and_state_is_kept_as_json():
    charts = Charts.model_validate_json(learned(3, 1000).model_dump_json())
    truth, answer = answered(errors(np.random.default_rng(5), 1000, 0.2, 0))
    whole = charting.go_on(charts, None, truth, answer)
    state = None
    for start in range(0, 1000, 130):
        part = truth[start : start + 130], answer[start : start + 130]
        state = State.model_validate_json(charting.go_on(charts, state, *part).model_dump_json())
    assert state == whole


def test_the_error_of_a_number_is_charted_in_its_own_unit():
    random = np.random.default_rng(6)
    truth = random.normal(size=2000) * 100
    charts = charting.learn(truth, truth + 10 * random.normal(size=2000))
    assert charts.ewma.mean * charts.scale == pytest.approx(8, rel=0.1)
    for spread, is_worse in ((10, False), (30, True)):
        answer = truth[:500] + spread * random.normal(size=500)
        state = charting.go_on(charts, None, truth[:500], answer)
        ewma, _ = charting.judge(charts, state, DROP)
        assert ewma.is_alarm == is_worse
        assert ewma.reason.startswith("mean absolute error ")
    broken = charting.go_on(charts, None, truth[:500], np.full(500, np.nan))
    assert all(one.is_alarm for one in charting.judge(charts, broken, DROP))


def test_few_rows_make_no_chart():
    assert charting.learn(*answered(np.zeros(99))) is None


def test_failed_requests_are_charted_by_the_looks_before():
    random = np.random.default_rng(7)
    shares = (random.binomial(1000, 0.005, size=60) / 1000).tolist()
    assert charting.judge_failures(shares[:19], 1000) is None
    assert not any(
        charting.judge_failures(shares[:end], 1000).is_alarm for end in range(20, len(shares))
    )
    found = charting.judge_failures([*shares, 0.05, 0.05], 1000)
    assert found.is_alarm
    assert found.cause == "service"
    assert "5.0% of the requests failed" in found.reason
