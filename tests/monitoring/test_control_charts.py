"""Charts of rates and means: how often they are wrong, and how soon they are right."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.streams import errors
from pipeline_tasks.decisions import adwin
from pipeline_tasks.decisions.adwin import Adwin, block_means, block_rows
from pipeline_tasks.decisions.control_charts import (
    chart_of_mean,
    chart_of_rate,
    limit_of,
    run_length_of,
    watch,
)

BLOCK = 50


def test_the_run_length_without_memory_is_the_normal_one():
    assert run_length_of(3.0, 1.0) == pytest.approx(
        1 / (0.5 * math.erfc(3 / math.sqrt(2))), rel=0.01
    )


def test_the_limit_is_where_a_simulated_chart_runs_as_long_as_was_asked():
    random = np.random.default_rng(1)
    limit, charts = limit_of(100), np.zeros(4000)
    limit *= math.sqrt(0.2 / 1.8)
    lengths, is_running = np.zeros(4000), np.ones(4000, dtype=bool)
    while is_running.any():
        lengths[is_running] += 1
        charts = 0.8 * charts + 0.2 * random.normal(size=4000)
        is_running &= charts <= limit
    assert lengths.mean() == pytest.approx(100, abs=4 * lengths.std() / math.sqrt(4000) + 3)


def watched(repeated: float, share: float, seed: int, run_length: float = 200):
    random = np.random.default_rng(seed)
    known = block_means(errors(random, 5000, 0.1, repeated).tolist(), BLOCK)
    chart = chart_of_rate(known, block_rows=BLOCK, run_length=run_length)
    blocks = block_means(errors(random, 20_000, share, repeated).tolist(), BLOCK)
    return chart, watch(chart, blocks)


@pytest.mark.parametrize("repeated", [0.0, 0.6, 0.8])
def test_a_chart_is_wrong_no_more_often_than_it_says_on_bursts_either(repeated):
    alarms = sum(len(watched(repeated, 0.1, seed, 1000)[1].alarms) for seed in range(150))
    assert alarms <= 60, "in 60,000 blocks, at one in 1,000"


def test_what_few_blocks_do_not_tell_raises_the_threshold():
    random = np.random.default_rng(8)
    blocks = block_means(errors(random, 50_000, 0.1, 0.6).tolist(), BLOCK)
    many, few = (chart_of_rate(blocks[:n], block_rows=BLOCK, run_length=1000) for n in (1000, 20))
    assert few.sd_error > 5 * many.sd_error
    known = replace(few, sd_error=0.0, common_error=0.0)
    assert known.threshold < few.threshold


@pytest.mark.parametrize(("repeated", "rows"), [(0.0, 1000), (0.6, 4000)])
def test_a_drop_of_ten_points_is_seen(repeated, rows):
    for seed in range(10):
        assert watched(repeated, 0.2, seed)[1].alarms[0] * BLOCK <= rows


def test_a_chart_goes_on_where_it_was():
    chart, whole = watched(0.0, 0.2, 1)
    random = np.random.default_rng(1)
    errors(random, 5000, 0.1, 0.0)
    blocks = block_means(errors(random, 20_000, 0.2, 0.0).tolist(), BLOCK)
    assert watch(chart, blocks[100:], watch(chart, blocks[:100])) == whole


def test_a_rate_that_falls_and_one_that_was_never_above_zero_are_quiet():
    assert not watched(0.0, 0.02, 3)[1].alarms
    chart = chart_of_rate([0.0] * 100, block_rows=BLOCK, run_length=1000)
    assert 0 < chart.threshold < 0.01
    assert not watch(chart, [0.0] * 1000).alarms
    assert watch(chart, [0.1] * 5).alarms


def test_a_mean_is_charted_by_the_spread_of_its_own_blocks():
    random = np.random.default_rng(4)
    chart = chart_of_mean((3 + 0.1 * random.normal(size=300)).tolist(), run_length=500)
    assert len(watch(chart, (3 + 0.1 * random.normal(size=1000)).tolist()).alarms) <= 8
    assert watch(chart, (3.2 + 0.1 * random.normal(size=10)).tolist()).alarms


def exhaustive(values: list[float], delta: float = 0.002) -> list[int]:
    """ADWIN without buckets: every cut of the whole window, in the words of the paper."""
    found, window = [], []
    for seen, value in enumerate(values, 1):
        window.append(value)
        while (size := len(window)) >= 10:
            before = np.cumsum(window)[:-1]
            n0 = np.arange(1, size)
            harmonic = 1 / n0 + 1 / (size - n0)
            certainty = math.log(2 * math.log(size) / delta)
            spread = np.sqrt(2 * harmonic * np.var(window) * certainty)
            gaps = np.abs(before / n0 - (sum(window) - before) / (size - n0))
            is_cut = gaps > spread + 2 / 3 * harmonic * certainty
            if not is_cut[4:-4].any():
                break
            del window[0]
            if not found or found[-1] != seen:
                found.append(seen)
    return found


def test_adwin_cuts_where_every_cut_of_the_whole_window_would():
    random = np.random.default_rng(5)
    values = np.concatenate([errors(random, 600, 0.1, 0), errors(random, 400, 0.5, 0)]).tolist()
    ours, wanted = adwin.watch(Adwin(), values), exhaustive(values)
    assert wanted[0] > 600
    assert 0 <= ours.cuts[0] - wanted[0] <= 10, "buckets may only make it later"
    assert ours.rises[0] == ours.cuts[0]
    assert ours.mean == pytest.approx(0.5, abs=0.1)


def test_adwin_is_quiet_while_nothing_changes_and_says_which_way_it_went():
    random = np.random.default_rng(6)
    steady = adwin.watch(Adwin(), errors(random, 20_000, 0.3, 0).tolist(), every=32)
    assert not steady.cuts
    assert len(steady.buckets) < 6 * math.log2(20_000)
    fallen = adwin.watch(steady, errors(random, 2000, 0.1, 0).tolist(), every=32)
    assert fallen.cuts
    assert not fallen.rises


def test_correlated_errors_are_watched_in_blocks():
    random = np.random.default_rng(7)
    assert block_rows(errors(random, 5000, 0.1, 0).tolist()) == 1
    bursty = errors(random, 100_000, 0.1, 0.8).tolist()
    rows = block_rows(bursty[:5000])
    assert rows >= 16
    in_rows = adwin.watch(Adwin(), bursty, every=32)
    in_blocks = adwin.watch(Adwin(), block_means(bursty, rows))
    assert len(in_blocks.cuts) <= 1 < len(in_rows.cuts)
