"""Drift is what is found in more than one window."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_tasks.core.values import Answer
from pipeline_tasks.decisions.drift import drift


@dataclass(frozen=True)
class Found:
    name: str
    is_drift: bool = False
    is_enough: bool = True

    @property
    def reason(self) -> str:
        return f"{self.name}: because"


STEADY = (Found("age"), Found("plan"))
AGE, PLAN = (Found("age", True), Found("plan")), (Found("age"), Found("plan", True))
SMALL = (Found("age", is_enough=False), Found("plan", is_enough=False))


def test_the_same_feature_in_two_of_the_last_three_windows_is_drift():
    verdict, drifted = drift([AGE, STEADY, AGE])
    assert verdict.answer is Answer.YES
    assert drifted == ("age",)
    assert verdict.reasons == ("age: because, in 2 of the last 3 windows",)
    assert drift([AGE, STEADY, STEADY, AGE])[0].answer is Answer.NO, "three windows ago is over"


def test_different_features_once_each_are_no_drift_but_are_told():
    verdict, drifted = drift([AGE, STEADY, PLAN])
    assert verdict.answer is Answer.NO
    assert drifted == ()
    assert verdict.reasons[1:] == ("once: plan: because",)


def test_a_window_that_was_too_small_does_not_count_and_gives_no_verdict():
    assert drift([AGE, SMALL, SMALL, STEADY, AGE])[1] == ("age",)
    assert drift([AGE, AGE, SMALL])[0].answer is Answer.NOT_ENOUGH_DATA
    assert drift([])[0].answer is Answer.NOT_ENOUGH_DATA


def test_how_many_of_how_many_can_be_chosen():
    assert drift([AGE], needed=1, among=1)[1] == ("age",)
    assert drift([AGE, AGE, STEADY], needed=3, among=3)[1] == ()
