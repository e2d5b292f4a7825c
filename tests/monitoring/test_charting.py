"""Charts that are learned from held-out rows and go on from look to look."""

from __future__ import annotations

import numpy as np
import pytest

from bench.streams import errors
from pipeline_tasks.core import clock
from pipeline_tasks.validation import charting
from pipeline_tasks.validation.charting import Charts, State

DROP = 0.05
BEGAN_MS = 1_700_000_000_000


def answered(wrong):
    """Truths, and the answers that are wrong where this is 1."""
    shares = np.stack([1 - wrong, wrong], axis=1)
    return np.zeros(len(wrong), dtype=int), shares


def looks(charts, stream, rows):
    """What each look, of so many rows, is told by the charts; a row comes every second."""
    state = None
    for start in range(0, len(stream), rows):
        wrong = stream[start : start + rows]
        state = charting.go_on(charts, state, *answered(wrong), times(start, len(wrong)))
        state = State.model_validate_json(state.model_dump_json())
        yield charting.judge(charts, state, DROP)


def alarms(charts, stream, rows):
    """In which looks, of so many rows each, any chart alarms."""
    return [any(one.is_alarm for one in said) for said in looks(charts, stream, rows)]


def times(start, count):
    """Milliseconds since 1970 of rows that come every second."""
    return BEGAN_MS + 1000 * np.arange(start, start + count)


def rows_before(moment):
    """How many rows came up to this moment."""
    return (clock.parse(moment).timestamp() - BEGAN_MS / 1000) + 1


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
    state = charting.go_on(charts, None, *answered(stream), times(0, 50_000))
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
    whole = charting.go_on(charts, None, truth, answer, times(0, 1000))
    state = None
    for start in range(0, 1000, 130):
        part = [one[start : start + 130] for one in (truth, answer, times(0, 1000))]
        state = State.model_validate_json(charting.go_on(charts, state, *part).model_dump_json())
    assert state == whole


def test_the_error_of_a_number_is_charted_in_its_own_unit():
    random = np.random.default_rng(6)
    truth = random.normal(size=2000) * 100
    charts = charting.learn(truth, truth + 10 * random.normal(size=2000))
    assert charts.ewma.mean * charts.scale == pytest.approx(8, rel=0.1)
    for spread, is_worse in ((10, False), (30, True)):
        answer = truth[:500] + spread * random.normal(size=500)
        state = charting.go_on(charts, None, truth[:500], answer, times(0, 500))
        ewma, _ = charting.judge(charts, state, DROP)
        assert ewma.is_alarm == is_worse
        assert ewma.reason.startswith("mean absolute error ")
    broken = charting.go_on(charts, None, truth[:500], np.full(500, np.nan), times(0, 500))
    assert all(one.is_alarm for one in charting.judge(charts, broken, DROP))


@pytest.mark.parametrize("rows", [100, 330, 4000])
@pytest.mark.parametrize("changed", [1000, 2630])
def test_the_charts_know_when_the_errors_rose_in_one_look_or_over_many(rows, changed):
    off = {"EWMA": [], "ADWIN": []}
    for seed in range(10):
        random = np.random.default_rng([seed, changed])
        stream = np.concatenate([errors(random, changed, 0.1, 0), errors(random, 2000, 0.3, 0)])
        for one in list(looks(learned(seed, 2000), stream, rows))[-1]:
            assert one.is_alarm
            off[one.name].append(rows_before(one.changed_at) - changed)
    assert abs(np.median(off["EWMA"])) <= 100, "two blocks"
    assert max(map(abs, off["ADWIN"])) <= 200, "four blocks"


def test_an_estimate_of_the_change_stays_while_the_alarm_lasts():
    random = np.random.default_rng(10)
    stream = np.concatenate([errors(random, 2000, 0.1, 0), errors(random, 4000, 0.3, 0)])
    by_adwin = [said[1] for said in looks(learned(0, 2000), stream, 500)]
    assert len({one.changed_at for one in by_adwin if one.is_alarm}) == 1
    assert sum(one.is_alarm for one in by_adwin) >= 6


@pytest.mark.parametrize(("rows", "often"), [(1000, "if the 1,000 it is drawn"), (5000, "at most")])
def test_a_chart_of_bursts_says_how_often_it_is_wrong_as_far_as_its_reference_tells(rows, often):
    charts = charting.learn(*answered(errors(np.random.default_rng(11), rows, 0.1, 0.6)))
    stream = errors(np.random.default_rng(12), 500, 0.1, 0.6)
    assert f"by chance once in 50,000 rows {often}" in next(looks(charts, stream, 500))[0].reason


def test_a_chart_that_does_not_alarm_knows_of_no_change():
    stream = errors(np.random.default_rng([0, 9]), 1000, 0.1, 0)
    assert [one.changed_at for one in next(looks(learned(0, 1000), stream, 1000))] == ["", ""]


def test_rows_of_one_moment_are_on_the_same_side_of_a_change():
    charts, random = learned(0, 2000), np.random.default_rng(8)
    stream = np.concatenate([errors(random, 1020, 0.1, 0), errors(random, 600, 0.5, 0)])
    moments = BEGAN_MS + np.repeat([1000, 2000, 3000], [400, 620, 600])
    state = charting.go_on(charts, None, *answered(stream[:1020]), moments[:1020])
    state = charting.go_on(charts, state, *answered(stream[1020:]), moments[1020:])
    said = charting.judge(charts, state, DROP)
    assert all(one.is_alarm for one in said)
    for one in said:
        assert (clock.parse(one.changed_at).timestamp() * 1000 - BEGAN_MS) in (1000, 2000)
    late = np.full(100, BEGAN_MS)
    state = charting.go_on(charts, state, *answered(np.ones(100)), late)
    assert state.newest_ms == (BEGAN_MS + 2000, BEGAN_MS + 3000), "labels of earlier rows"


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
