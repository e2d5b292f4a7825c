"""Retraining policies on short streams: what they train, how often, and what it brings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline_tasks.replay import living, report, streams
from pipeline_tasks.replay.living import POLICIES, lives
from pipeline_tasks.replay.models import trained
from pipeline_tasks.replay.policies import USUAL, Rules, Triggered
from pipeline_tasks.replay.training import Candidate, Proven
from pipeline_tasks.sections.production import Budget

ROWS = 24_000


@pytest.fixture(scope="module")
def sea():
    return streams.sea(5, ROWS)


@pytest.fixture(scope="module")
def found(sea):
    return {life.policy: life for life in lives(sea, tuple(POLICIES), USUAL)}


def test_every_policy_lives_through_the_same_rows(found, sea):
    assert set(found) == set(POLICIES)
    assert {len(life.right) for life in found.values()} == {ROWS - sea.first_rows}


def test_never_trains_nothing_and_nightly_after_every_block_but_the_last(found, sea):
    blocks = len(sea.starts)
    assert not found["never"].events
    assert len(found["nightly"].events) == blocks - 1
    assert len(found["weekly"].events) == (blocks - 1) // 7


def test_an_equal_budget_is_equal(found):
    trainings = len(found["triggered"].events)
    assert trainings > 0
    for name in living.EQUAL_BUDGET:
        assert len(found[name].events) == trainings


def test_triggered_trains_less_than_a_quarter_as_often_as_nightly_and_more_is_right_than_never(
    found,
):
    assert len(found["triggered"].events) < len(found["nightly"].events) / 4
    assert found["triggered"].accuracy > found["never"].accuracy + 0.01


def test_a_budget_is_kept_in_every_stretch_of_its_days(sea):
    budget = Budget(retrainings=2, days=12)
    rules = replace(USUAL, retraining=USUAL.retraining.model_copy(update={"budget": budget}))
    [life] = lives(sea, ("triggered",), rules)
    days = [(event.row - sea.first_rows) // sea.block_rows for event in life.events]
    assert len(days) > 2
    assert all(later - earlier >= 12 for earlier, later in zip(days, days[2:], strict=False))


def test_the_same_stream_is_lived_through_in_the_same_way(sea, found):
    [again] = lives(streams.sea(5, ROWS), ("triggered",), USUAL)
    assert again.events == found["triggered"].events
    assert (again.right == found["triggered"].right).all()
    assert (streams.sea(6, ROWS).labels != sea.labels).any()


def test_a_block_is_answered_before_its_labels_are_known(sea):
    """Labels that are turned around in the last block change no answer and no training."""
    labels = sea.labels.copy()
    labels[sea.starts[-1] :] ^= 1
    [life] = lives(sea, ("triggered",), USUAL)
    [other] = lives(replace(sea, labels=labels), ("triggered",), USUAL)
    last = len(sea.labels) - sea.starts[-1]
    assert other.events == life.events
    assert (other.right[:-last] == life.right[:-last]).all()
    assert (other.right[-last:] == ~life.right[-last:]).all()


def test_a_candidate_that_knows_less_than_the_champion_is_never_promoted(sea):
    steady = replace(sea, inputs=sea.inputs[:5000], labels=sea.labels[:5000], changes=())
    proven = Proven(steady, USUAL)
    champion = proven.train(2500, 0)
    noise = replace(steady, labels=np.random.default_rng(1).permutation(steady.labels))
    candidate = Proven(noise, USUAL).train(2500, 0)
    assert proven.is_proven(champion, champion.model, 5000)
    assert not proven.is_proven(candidate, champion.model, 5000)


def test_what_proved_a_candidate_is_learned_before_it_answers(sea):
    proven = Proven(sea, with_retraining(refit=True, refit_change=0.5))
    candidate = proven.train(2500, 0)
    again = trained(sea.inputs[:4000], sea.labels[:4000])
    served = proven.served(candidate, 4000)
    assert (served.answer(sea.inputs) == again.answer(sea.inputs)).all()
    assert (served.answer(sea.inputs) != candidate.model.answer(sea.inputs)).any()


@pytest.mark.parametrize("changes", [{"refit": False}, {"refit": True, "refit_change": 0.0}])
def test_what_was_proven_answers_when_it_may_not_be_refit(sea, changes):
    proven = Proven(sea, with_retraining(**changes))
    candidate = proven.train(2500, 0)
    assert proven.served(candidate, 4000) is candidate.model


def test_a_window_that_moves_on_keeps_its_length(sea):
    candidate = Candidate(trained(sea.inputs[500:2400], sea.labels[500:2400]), 500, 2400)
    served = Proven(sea, with_retraining(refit=True, refit_change=0.5)).served(candidate, 4000)
    again = trained(sea.inputs[2100:4000], sea.labels[2100:4000])
    assert (served.answer(sea.inputs) == again.answer(sea.inputs)).all()


def with_retraining(**changes: object) -> Rules:
    return replace(USUAL, retraining=USUAL.retraining.model_copy(update=changes))


def test_a_rise_of_the_errors_is_seen_and_has_follow_ups_at_growing_rows():
    changes = {"maximum_age_days": None, "follow_ups": 4, "follow_up_rows": 0}
    rules = USUAL.retraining.model_copy(update=changes)
    policy = Triggered(rules, block_rows=250)
    steady = [0.1, 0.12, 0.09, 0.11, 0.1, 0.08, 0.12, 0.1, 0.11, 0.09] * 4
    reasons = {
        block - len(steady): reason
        for block, wrong in enumerate([*steady, *(one + 0.3 for one in steady * 2)], 1)
        if (reason := policy.reason(block, wrong))
    }
    first = min(reasons)
    assert policy.changed == len(steady)
    assert list(reasons) == [first, 2 * first, 3 * first, 5 * first, 9 * first]
    assert "errors 0.4" in reasons[first]
    assert "follow-up 4 of 4" in reasons[9 * first]


def test_recovery_is_counted_from_the_change(sea, found):
    level = report.levels(list(found.values()))
    assert set(level) == set(sea.changes)
    # Without an answer that is wrong, the first rows that can be judged are good enough.
    right = replace(found["never"], right=np.ones_like(found["never"].right))
    assert report.rows_to_recover(right, level) == [report.AFTER_ROWS] * 3
    wrong = replace(found["never"], right=np.zeros_like(found["never"].right))
    assert report.rows_to_recover(wrong, level) == [float("inf")] * 3


def test_kappa_is_0_for_the_last_label_and_1_for_the_truth(found):
    assert report.kappa_temporal(found["no_change"]) == pytest.approx(0)
    right = replace(found["never"], right=np.ones_like(found["never"].right))
    assert report.kappa_temporal(right) == pytest.approx(1)


def test_what_was_found_is_kept_as_json_and_a_chart(found, tmp_path):
    result = report.write(list(found.values()), tmp_path)
    assert (tmp_path / "sea.png").read_bytes().startswith(b"\x89PNG")
    assert '"triggered"' in (tmp_path / "sea.json").read_text()
    triggered = result["policies"]["triggered"]
    assert len(triggered["seeds"][0]["trainings"]) == triggered["trainings"]
    assert all(one["reason"] for one in triggered["seeds"][0]["trainings"])
