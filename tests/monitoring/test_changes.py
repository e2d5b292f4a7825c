"""A change of the errors has one alarm, says when it began, and steady errors have none."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_tasks.decisions.changes import LEAST_BLOCKS, Errors, look, redrawn


def looked(shares, rows=250):
    """After how many blocks it alarms, and what it thinks in the end."""
    errors, alarms = Errors(block_rows=rows), []
    for share in shares:
        errors = look(errors, float(share))
        alarms += [errors.blocks] if errors.reason else []
    return alarms, errors


def shares(seed, *parts, rows=250):
    random = np.random.default_rng(seed)
    return np.concatenate([random.binomial(rows, share, of) / rows for of, share in parts])


@pytest.mark.parametrize("seed", range(5))
def test_a_rise_has_one_alarm_that_says_when_it_began(seed):
    alarms, errors = looked(shares(seed, (40, 0.1), (40, 0.25)))
    assert len(alarms) == 1
    assert 40 < alarms[0] <= 44
    assert abs(errors.changed - 40) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_errors_that_fall_are_no_alarm(seed):
    assert looked(shares(seed, (40, 0.25), (40, 0.1)))[0] == []


def test_steady_errors_alarm_seldom():
    alarms = sum(len(looked(shares(seed, (200, 0.1)))[0]) for seed in range(10))
    assert alarms <= 2000 / 200 * 3


def test_what_follows_an_alarm_is_a_new_level():
    alarms, errors = looked(shares(3, (40, 0.1), (60, 0.25), (40, 0.45)))
    assert len(alarms) == 2
    assert abs(errors.changed - 100) <= 2


def test_a_new_champion_has_a_chart_of_its_own_once_there_are_blocks_for_one():
    few = looked([0.1] * (LEAST_BLOCKS - 1))[1]
    assert redrawn(few).chart is None
    many = looked(shares(4, (30, 0.1)))[1]
    assert redrawn(many).chart != many.chart
    assert redrawn(many).watched == many.watched
