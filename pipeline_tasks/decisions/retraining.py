"""Is what production shows worth a training run?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.sections.production import Retraining

QUALITY, DRIFT, SERVICE = "quality", "drift", "service"
AGE, VOLUME, FOLLOW_UP, FORCED = "age", "volume", "follow_up", "forced"
MENDED_BY_TRAINING = (QUALITY, DRIFT)
ANSWERED = (
    "this episode has had its retraining; if that did not help, look at the new data, "
    "or trigger the training by hand"
)


@dataclass(frozen=True)
class Regime:
    """What has been learned of the world since it last changed.

    rows: labelled observations since the change. first_rows: as many as there were when its first
    retraining began. follow_ups: retrainings on it since then. is_over: there is a new alarm.
    """

    rows: int
    first_rows: int
    follow_ups: int = 0
    is_over: bool = False


@dataclass(frozen=True)
class Evidence:
    """What is known when the decision is made.

    causes, reasons: of a degraded verdict; none when production is healthy. is_answered: this
    episode has had its retraining, or a person's no. labelled: labelled observations since the
    change, or since the champion was promoted. new_rows: since the last training. age_days,
    minutes_since: since the last training, and since the last retraining began; None before the
    first. retrainings: within the budget's days. in_vain: see `in_vain`. forced: why a person wants
    it now.
    """

    causes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    is_answered: bool = False
    labelled: int = 0
    new_rows: int = 0
    age_days: float | None = None
    minutes_since: float | None = None
    retrainings: int = 0
    in_vain: int = 0
    regime: Regime | None = None
    forced: str = ""


@dataclass(frozen=True)
class Decision:
    """The verdict, and the causes that call for training; more of them than one may."""

    verdict: Verdict
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Nightly:
    """What the calendar would have spent where this pipeline decided; seconds: None if unknown."""

    trainings: int
    seconds: float | None

    @property
    def text(self) -> str:
        """For people."""
        cost = "" if self.seconds is None else f", about {self.seconds:.0f} s of computing"
        return f"{self.trainings} training{'' if self.trainings == 1 else 's'}{cost}"


def retraining(rules: Retraining, evidence: Evidence) -> Decision:
    """Yes when something calls for training, it has what it needs, and nothing forbids it now.

    A person's wish is above all rules. An alarm calls once for each episode, if training can mend
    it; age, new rows and a change's growing rows call in a healthy pipeline, too. Then there is the
    cool-down, the budget, and, after retrainings in vain, a person to ask.
    """
    if evidence.forced:
        return Decision(_verdict(Answer.YES, f"by hand: {evidence.forced}"), (FORCED,))
    calls = dict(_calls(rules, evidence))
    if not calls:
        return Decision(_verdict(Answer.NO, *_why_not(rules, evidence)))
    answer, said = _allowed(rules, evidence, calls.keys() <= {QUALITY, DRIFT})
    known = [reason for reasons in calls.values() for reason in reasons]
    reasons = known + said if answer in (Answer.YES, Answer.ASK) else said
    return Decision(_verdict(answer, *dict.fromkeys(reasons)), tuple(calls))


def follow_up_rows(first_rows: int, rules: Retraining) -> tuple[int, ...]:
    """Rows since a change at which to train again, when the first training on it had `first_rows`.

    Geometric, so that a change costs few trainings however long it lasts, and each one has learned
    from at least half as many rows again as the one before; from `follow_up_rows` more at least.

    >>> follow_up_rows(200, Retraining(follow_ups=4))
    (400, 600, 1000, 1800)
    >>> follow_up_rows(200, Retraining(follow_ups=2, follow_up_rows=1000))
    (1200, 2200)
    """
    step = max(first_rows, rules.follow_up_rows)
    return tuple(first_rows + step * 2**index for index in range(rules.follow_ups))


def in_vain(gains: Sequence[bool]) -> int:
    """How many of the last trainings, oldest first, brought no proven gain in a row.

    >>> in_vain([True, False, False]), in_vain([False, True]), in_vain([])
    (2, 0, 0)
    """
    return next((index for index, gain in enumerate(reversed(gains)) if gain), len(gains))


def nightly(days: float, seconds_each: float | None) -> Nightly:
    """What a nightly schedule would have done in these days; seconds_each: of one training.

    >>> nightly(3.4, 20).text, nightly(1.5, None).text
    ('3 trainings, about 60 s of computing', '1 training')
    """
    trainings = int(days)
    return Nightly(trainings, None if seconds_each is None else trainings * seconds_each)


def _calls(rules: Retraining, evidence: Evidence) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What calls for training, and why."""
    if not evidence.is_answered:
        for cause in MENDED_BY_TRAINING:
            if cause in evidence.causes:
                yield cause, evidence.reasons
    age, limit = evidence.age_days, rules.maximum_age_days
    if age is not None and limit is not None and age >= limit:
        yield AGE, (f"the last training was {age:.1f} days ago, at most {limit:g} are allowed",)
    if rules.new_rows is not None and evidence.new_rows >= rules.new_rows:
        rows = f"{evidence.new_rows} labelled observations since the last training"
        yield VOLUME, (f"{rows}, {rules.new_rows} are a reason",)
    yield from _follow_up(rules, evidence.regime)


def _follow_up(rules: Retraining, regime: Regime | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    if regime is None or regime.is_over:
        return
    due = follow_up_rows(regime.first_rows, rules)[regime.follow_ups :]
    if due and regime.rows >= due[0]:
        number = f"follow-up {regime.follow_ups + 1} of {rules.follow_ups}"
        yield FOLLOW_UP, (f"{regime.rows} rows since the change, {number} is due at {due[0]}",)


def _why_not(rules: Retraining, evidence: Evidence) -> tuple[str, ...]:
    if evidence.is_answered:
        return (ANSWERED,)
    if evidence.causes:
        looked_at = "; ".join(evidence.reasons)
        return (f"retraining does not mend this; look at the server: {looked_at}",)
    return ("production is not degraded, and neither age nor new rows call for training",)


def _allowed(rules: Retraining, evidence: Evidence, needs_labels: bool) -> tuple[Answer, list[str]]:
    if needs_labels and evidence.labelled < rules.minimum_labelled:
        few = f"waits for labels: {evidence.labelled} of {rules.minimum_labelled}"
        return Answer.NOT_ENOUGH_DATA, [few]
    since = evidence.minutes_since
    if since is not None and since < rules.cooldown_minutes:
        return Answer.NO, [
            f"the last retraining began {since:.0f} minutes ago, "
            f"the cool-down is {rules.cooldown_minutes:g} minutes"
        ]
    budget = rules.budget
    if evidence.retrainings >= budget.retrainings:
        spent = f"{evidence.retrainings} retrainings in {budget.days:g} days"
        return Answer.NO, [f"{spent} are all that the budget allows"]
    enough = f"{evidence.labelled} labelled observations to learn from"
    if rules.ask_after and evidence.in_vain >= rules.ask_after:
        vain = f"the last {evidence.in_vain} retrainings brought no proven gain: a person decides"
        return Answer.ASK, [enough, vain]
    return Answer.YES, [enough]


def _verdict(answer: Answer, *reasons: str) -> Verdict:
    return Verdict(answer=answer, reasons=reasons)
