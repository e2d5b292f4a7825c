"""Go on, take away, or look again: what a release is decided by, and how rarely it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_tasks.core.values import Answer
from pipeline_tasks.decisions import release
from pipeline_tasks.decisions.release import Counts, Seen, Shadow
from pipeline_tasks.sections.deployment import Deployment

RULES = Deployment(strategy="canary", minimum_requests=100)
FAST, SLOW = 0.01, 2.0


def counts(requests=1000, errors=0, **changes) -> Counts:
    given = {"rows": requests, "latencies": {FAST: requests}} | changes
    return Counts(requests=requests, errors=errors, **given)


def trial(candidate, champion=None, *, rules=RULES, is_over=False, shadow=None, watches=3):
    seen = Seen(candidate, champion or counts(), shadow=shadow)
    return release.trial(rules, seen, watches=watches, is_over=is_over)


def test_a_candidate_that_does_as_well_goes_on_with_figures():
    verdict = trial(counts())
    assert verdict.answer is Answer.YES
    assert "0 of 1000 requests failed, the champion's 0 of 1000" in verdict.reasons[1]


def test_too_little_traffic_waits_until_time_is_over_and_then_the_file_decides():
    few = counts(20)
    assert trial(few) is None
    promoted = trial(few, is_over=True)
    assert promoted.answer is Answer.YES
    assert "little was seen" in promoted.reasons[0]
    refuse = RULES.model_copy(update={"on_little_traffic": "refuse"})
    assert trial(few, is_over=True, rules=refuse).answer is Answer.NOT_ENOUGH_DATA


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (counts(8, errors=8), "8 of 8 requests failed"),
        (counts(200, nonfinite=1), "1 of 200 rows answered with NaN or infinity"),
        (
            counts(200, latencies={FAST: 150, 0.05: 0, 0.1: 50}),
            "the champion's 99th percentile of 10 ms",
        ),
        (counts(200, labelled=60, wrong=40), "40 of 60 labelled rows answered wrongly"),
    ],
)
def test_a_fault_that_is_proven_takes_the_candidate_away_at_once(candidate, said):
    verdict = trial(candidate, counts(2000, labelled=500, wrong=20))
    assert verdict.answer is Answer.NO
    assert said in "; ".join(verdict.reasons)


def test_the_limit_counts_where_the_champion_has_answered_too_little_to_compare():
    verdict = trial(counts(50, latencies={FAST: 30, 0.3: 5, SLOW: 15}), counts(3))
    assert "15 of 50 requests took longer than the limit of 250 ms" in verdict.reasons[0]


def test_errors_of_the_champion_excuse_the_same_share_of_the_candidates():
    assert trial(counts(5000, errors=250), counts(20_000, errors=1000)).answer is Answer.YES
    assert trial(counts(2000, errors=100), counts(20_000, errors=0)).answer is Answer.NO


def test_what_a_server_refuses_is_the_candidates_fault_only_where_the_champion_refuses_less():
    verdict = trial(counts(300, refused=60), counts(2000, refused=3))
    assert "60 of 300 requests were refused, the champion's 3 of 2000" in verdict.reasons[0]
    assert trial(counts(600, refused=60), counts(5000, refused=500)).answer is Answer.YES
    alone = Seen(counts(600, refused=60))
    assert release.bake(RULES, alone, is_over=True).answer is Answer.YES
    after = Seen(counts(600, refused=60), before=counts(5000))
    assert release.bake(RULES, after, is_over=False).answer is Answer.NO


def test_answers_that_are_no_numbers_are_no_fault_where_the_champion_gives_them_too():
    assert trial(counts(nonfinite=5), counts(nonfinite=50)).answer is Answer.YES


def test_labels_are_waited_for_where_the_file_asks_for_them():
    rules = RULES.model_copy(update={"minimum_labelled": 50})
    assert trial(counts(labelled=49), counts(labelled=500), rules=rules) is None
    assert trial(counts(labelled=50), counts(labelled=500), rules=rules).answer is Answer.YES


def test_what_looks_worse_and_is_not_proven_is_waited_for_and_in_the_end_not_promoted():
    doubtful = counts(300, labelled=10, wrong=7)
    usual = counts(labelled=20, wrong=2)
    assert trial(doubtful, usual) is None
    ended = trial(doubtful, usual, is_over=True)
    assert ended.answer is Answer.NOT_ENOUGH_DATA
    assert "7 of 10 labelled rows answered wrongly" in ended.reasons[1]


def test_a_shadow_is_judged_by_disagreement_and_by_who_was_right():
    same = Shadow(rows=1000, disagreements=10)
    assert trial(counts(), shadow=same).answer is Answer.YES
    other = Shadow(rows=1000, disagreements=500)
    assert trial(counts(), shadow=other).answer is Answer.YES, "unless the file limits it"
    limited = RULES.model_copy(update={"disagreement": 0.1})
    assert trial(counts(), shadow=other, rules=limited).answer is Answer.NO
    worse = Shadow(rows=1000, disagreements=500, only_champion_right=40, only_candidate_right=2)
    assert "the champion got 40" in trial(counts(), shadow=worse).reasons[0]


def test_a_bake_goes_well_only_when_its_time_is_over():
    seen = Seen(counts())
    assert release.bake(RULES, seen, is_over=False) is None
    assert release.bake(RULES, seen, is_over=True).answer is Answer.YES
    assert release.bake(RULES, Seen(counts(20, errors=20)), is_over=False).answer is Answer.NO


def simulated(random, candidate: float, champion: float, *, wrong: float) -> Answer | None:
    """One canary step of 3,000 requests, a sixth of them the candidate's, looked at 30 times."""
    sums = np.zeros(4, dtype=int)
    slow = np.zeros(2, dtype=int)
    verdict = None
    for look in range(1, 31):
        sums += random.binomial([100, 20, 500, 100], [candidate, wrong, champion, wrong])
        slow += random.binomial([100, 500], 0.008)
        mine, usual = 100 * look, 500 * look
        seen = Seen(
            counts(
                mine,
                errors=sums[0],
                labelled=20 * look,
                wrong=sums[1],
                latencies={FAST: mine - slow[0], 0.3: 0, SLOW: slow[0]},
            ),
            counts(
                usual,
                errors=sums[2],
                labelled=100 * look,
                wrong=sums[3],
                latencies={FAST: usual - slow[1], 0.3: 0, SLOW: slow[1]},
            ),
        )
        verdict = release.trial(
            RULES.model_copy(update={"confidence": 0.9}), seen, watches=1, is_over=False
        )
        if verdict is not None and verdict.answer is Answer.NO:
            return verdict.answer
    return verdict.answer if verdict else None


def test_false_alarms_are_rarer_than_promised_and_real_faults_are_found():
    """alpha is 1 - confidence = 0.1: as good as the champion, of whom one request in 50 fails."""
    random = np.random.default_rng(3)
    alarms = [simulated(random, 0.02, 0.02, wrong=0.1) is Answer.NO for _ in range(60)]
    assert np.mean(alarms) <= 0.1
    found = [simulated(random, 0.1, 0.02, wrong=0.1) is Answer.NO for _ in range(10)]
    assert np.mean(found) == 1.0
