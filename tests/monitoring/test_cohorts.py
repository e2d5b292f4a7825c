"""Labels by the time of their predictions: cohorts, their completeness, and what is judged when."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tasks import config, observations
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.data import rows
from pipeline_tasks.observations import history
from pipeline_tasks.observations.history import Entry
from tests.monitoring.looking import Looking, ago


@pytest.fixture
def mature(tmp_path):
    return Looking(tmp_path, monitoring={"matures_after_minutes": 120})


def counted(facts, *names):
    return tuple(facts[f"labels_{name}"] for name in names)


def test_only_mature_cohorts_are_judged_and_what_comes_later_is_for_training(mature):
    old, new = mature.ask(40, hours=5), mature.ask(30, minutes=10)
    mature.tell(dict.fromkeys(old[:30] + new, 1), minutes=5)
    facts = mature.look("first")
    assert (facts["predictions"], facts["labelled"], facts["labels_late"]) == (70, 30, 0)
    assert (facts["cohorts_matured"], facts["label_completeness"]) == (1, round(60 / 70, 4))
    mature.tell(dict.fromkeys(old[30:], 0))
    facts = mature.look("second")
    assert (facts["labelled"], facts["labels_late"], facts["label_completeness"]) == (0, 10, 1.0)
    assert len(observations.labelled(mature.log)) == 70


def test_a_cohort_that_is_judged_has_the_labels_that_count_by_then(mature):
    ids = mature.ask(20, hours=5)
    mature.tell(dict.fromkeys(ids, 0), hours=4)
    mature.tell(dict.fromkeys(ids[:5], 1), hours=3)
    window = mature.collect("look")
    arrays = rows.read_arrays(mature.store.open(window) / "labelled.npz")
    assert sorted(arrays["_truth"].tolist()) == [0] * 15 + [1] * 5
    assert set(arrays) == {"x", "plan", "_answer", "_time_ms", "_truth"}
    assert counted(window.summary, "corrected", "duplicate") == (5, 0)


def test_completeness_is_told_by_the_hour_of_the_predictions(mature):
    for hours, labelled in ((6, 4), (5, 1), (0, 0)):
        ids = mature.ask(4, hours=hours)
        if labelled:
            mature.tell(dict.fromkeys(ids[:labelled], 1))
    window = mature.collect("look")
    cohorts = json.loads((mature.store.open(window) / "cohorts.json").read_text())
    found = [(one["predictions"], one["labelled"], one["completeness"]) for one in cohorts]
    assert found == [(4, 4, 1.0), (4, 1, 0.25), (4, 0, 0.0)]
    assert [one["hour"] for one in cohorts] == sorted({one["hour"] for one in cohorts})


def test_a_cohort_with_too_few_labels_is_not_judged(tmp_path):
    settings = {"matures_after_minutes": 120, "minimum_completeness": 0.8}
    made = Looking(tmp_path, monitoring=settings)
    good, poor = made.ask(20, hours=6), made.ask(20, hours=5)
    made.tell(dict.fromkeys(good[:18] + poor[:10], 1))
    facts = made.look("look")
    names = ("labelled", "cohorts_matured", "cohorts_incomplete")
    assert tuple(facts[name] for name in names) == (18, 2, 1)


def test_completeness_is_of_an_age(tmp_path):
    made = Looking(tmp_path, monitoring={"minimum_completeness": 0.8})
    with pytest.raises(ConfigError, match="minimum_completeness needs matures_after_minutes"):
        config.load(made.yaml)


def test_too_few_labels_of_mature_cohorts_are_judged_with_the_next_ones(mature):
    ids = mature.ask(5, hours=5)
    mature.tell(dict.fromkeys(ids[:3], 1), hours=4)
    assert mature.look("first", minimum=4)["labelled"] == 3
    mature.tell(dict.fromkeys(ids[3:], 1))
    facts = mature.look("second", minimum=4)
    assert (facts["labelled"], facts["labels_arrived"], facts["labels_late"]) == (5, 2, 0)
    assert mature.look("third", minimum=4)["labelled"] == 0


def test_what_counts_is_what_was_true_last_whenever_it_arrives(tmp_path):
    made = Looking(tmp_path)
    first, second, third = made.ask(3, hours=5)
    made.tell({first: 1, second: 1, third: 1}, at=ago(hours=3), hours=2)
    assert made.look("first")["labelled"] == 3
    same = ago(hours=1)
    made.tell({first: 0}, at=ago(hours=4))
    made.tell({second: 0}, at=same)
    made.tell({second: 1}, at=same)
    made.tell({third: 1})
    facts = made.look("second")
    assert counted(facts, "outdated", "corrected", "conflicting", "duplicate") == (1, 1, 1, 1)
    assert facts["labelled"] == 0
    found = {one.prediction.id: one.label.label for one in observations.labelled(made.log)}
    assert found == {first: 1, second: 1, third: 1}


def test_a_new_champion_begins_with_cohorts_of_its_own(tmp_path):
    made = Looking(tmp_path)
    made.tell(dict.fromkeys(made.ask(10, hours=5), 1), hours=4)
    assert made.look("before")["label_completeness"] == 1.0
    made.promote(2, hours=1)
    ids = made.ask(8, version=2, minutes=30)
    made.tell(dict.fromkeys(ids[:2], 1))
    facts = made.look("after")
    assert (facts["predictions"], facts["labelled"], facts["label_completeness"]) == (8, 2, 0.25)


moments = st.integers(10, 99).map(str)
entries = st.lists(st.builds(Entry, moments, moments, st.integers(0, 2)), min_size=1, max_size=8)


@given(entries, st.integers(0, 7))
def test_the_order_of_arrival_does_not_change_what_counts(found, turn):
    distinct = list({one.moment: one for one in found}.values())
    turned = distinct[turn:] + distinct[:turn]
    assert history.counting(turned) == history.counting(distinct[::-1])


@given(entries)
def test_what_is_told_again_is_a_duplicate_and_changes_nothing(found):
    counting = history.counting(found)
    kinds = history.kinds([*found, counting._replace(arrived="99")])
    assert kinds[-1] == "duplicate"
    assert history.counting([*found, counting]).label == counting.label
    assert kinds.count("first") == 1


@given(entries)
def test_only_a_correction_or_a_conflict_changes_what_counts(found):
    found = sorted(found)
    for number, kind in enumerate(history.kinds(found)):
        if number:
            before, after = history.counting(found[:number]), history.counting(found[: number + 1])
            assert (before.label != after.label) == (kind in {"corrected", "conflicting"})
