"""May a candidate go on answering, must it be taken away, or is it too early to say?

Every figure is a share of events: of requests that failed, of requests slower than a limit, of
labelled rows answered wrongly. Each share has a confidence sequence (`sequential.bounds`), so that
looking every few seconds until something is proven costs nothing; their error probabilities add up
to `1 - confidence` for a whole release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.decisions.sequential import bounds
from pipeline_tasks.sections.deployment import Deployment

SLOWEST = 0.01
SEQUENCES = 11
NEVER_WORSE = 0.5


@dataclass(frozen=True)
class Counts:
    """What one version did during a watch.

    errors: requests that failed by the server's or the model's fault. refused: those answered that
    the request is wrong, which may be the client's fault. nonfinite: rows answered with NaN or
    infinity. latencies: requests by the upper bound of their bucket in seconds, not cumulative;
    infinity is the last bound.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    rows: int = 0
    nonfinite: int = 0
    latencies: Mapping[float, int] = field(default_factory=dict)
    labelled: int = 0
    wrong: int = 0


@dataclass(frozen=True)
class Shadow:
    """Rows that champion and candidate both answered; what was labelled of those they differ on.

    only_champion_right, only_candidate_right: labelled rows that one of them got right.
    """

    rows: int = 0
    disagreements: int = 0
    only_champion_right: int = 0
    only_candidate_right: int = 0


@dataclass(frozen=True)
class Seen:
    """Everything a watch has counted.

    champion: at the same time; None while the candidate answers alone. before: what the champion
    before it did, as far as the server remembers.
    """

    candidate: Counts
    champion: Counts | None = None
    before: Counts | None = None
    shadow: Shadow | None = None


@dataclass(frozen=True)
class Check:
    """One guard: a fault is proven, or all is well, or neither yet; `text` says with which figures.

    A check without `is_enough` waits for more. is_doubtful: it looks like a fault, and is not
    proven to be one: it waits, and in the end it is the champion that stays.
    """

    text: str
    is_fault: bool = False
    is_enough: bool = True
    is_doubtful: bool = False


def alpha_of(rules: Deployment, watches: int) -> float:
    """The error probability of one confidence sequence, of SEQUENCES in each of so many watches.

    >>> round(alpha_of(Deployment(confidence=0.89), watches=1), 3)
    0.01
    """
    return (1 - rules.confidence) / (SEQUENCES * watches)


def trial(rules: Deployment, seen: Seen, *, watches: int, is_over: bool) -> Verdict | None:
    """Yes: go on. No: a fault is proven. Not enough data: time is over, and the file says refuse.

    None: look again. watches: how many steps the release has. is_over: this step's time is over.
    """
    checks = list(_checks(rules, seen, alpha_of(rules, watches)))
    faults = tuple(check.text for check in checks if check.is_fault)
    if faults:
        return Verdict(answer=Answer.NO, reasons=faults)
    reasons = tuple(check.text for check in checks)
    doubts = tuple(check.text for check in checks if check.is_doubtful)
    if not doubts and all(check.is_enough for check in checks):
        return Verdict(answer=Answer.YES, reasons=reasons)
    if not is_over:
        return None
    if doubts:
        doubtful = "time is over, and it looks worse than the champion, if that is not proven"
        return Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(doubtful, *doubts))
    if rules.on_little_traffic == "refuse":
        little = "too little was seen in the time of a step, and the pipeline file says refuse"
        return Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(little, *reasons))
    little = "little was seen in the time of a step, and nothing speaks against the candidate"
    return Verdict(answer=Answer.YES, reasons=(little, *reasons))


def bake(rules: Deployment, seen: Seen, *, is_over: bool) -> Verdict | None:
    """No: the new champion has a fault. Yes: time is over and none is proven. None: look again."""
    checks = list(_checks(rules, seen, alpha_of(rules, watches=1)))
    faults = tuple(check.text for check in checks if check.is_fault)
    if faults:
        return Verdict(answer=Answer.NO, reasons=faults)
    if is_over:
        return Verdict(answer=Answer.YES, reasons=tuple(check.text for check in checks))
    return None


def _checks(rules: Deployment, seen: Seen, alpha: float) -> Iterator[Check]:
    yield _finite(seen)
    yield _errors(rules, seen, alpha)
    yield from _refused(rules, seen, alpha)
    yield _latency(rules, seen, alpha)
    if seen.champion and seen.champion.labelled and seen.candidate.labelled:
        yield _quality(rules, seen.candidate, seen.champion, alpha)
    if seen.shadow:
        yield from _against_the_answers_given(rules, seen.shadow, alpha)
    if rules.minimum_labelled and seen.champion:
        found = seen.candidate.labelled
        text = f"{found} labelled rows, {rules.minimum_labelled} needed"
        yield Check(text, is_enough=found >= rules.minimum_labelled)


def _finite(seen: Seen) -> Check:
    """One answer that is no number is a fault, unless the champion gives such answers as well."""
    found = seen.candidate.nonfinite
    usual = seen.champion or seen.before
    is_usual = usual is not None and usual.nonfinite > 0
    text = f"{found} of {seen.candidate.rows} rows answered with NaN or infinity"
    return Check(text, is_fault=found > 0 and not is_usual)


def _errors(rules: Deployment, seen: Seen, alpha: float) -> Check:
    mine = seen.candidate
    low, _ = bounds(mine.errors, mine.requests, alpha)
    text = f"{mine.errors} of {mine.requests} requests failed"
    usual = (0.0, 0.0)
    if seen.champion:
        usual = bounds(seen.champion.errors, seen.champion.requests, alpha)
        text += f", the champion's {seen.champion.errors} of {seen.champion.requests}"
    is_fault = low > usual[1] + rules.error_margin
    # To be let through wrongly, a candidate must pass every watch: this bound is not shared out.
    _, high = bounds(mine.errors, mine.requests, 1 - rules.confidence)
    text += f" (at least {low:.2%})" if is_fault else f" (at most {high:.2%})"
    # The champion's best case, not its interval, which is wide while it answers little.
    best = seen.champion.errors / max(1, seen.champion.requests) if seen.champion else 0.0
    is_enough = mine.requests >= rules.minimum_requests and high <= best + rules.error_margin
    is_doubtful = mine.errors > (best + rules.error_margin) * mine.requests
    return Check(text, is_fault=is_fault, is_enough=is_enough, is_doubtful=is_doubtful)


def _refused(rules: Deployment, seen: Seen, alpha: float) -> Iterator[Check]:
    """Only more refusals than the champion's are the candidate's."""
    mine, usual = seen.candidate, seen.champion or seen.before
    if usual is None or not usual.requests:
        return
    low, _ = bounds(mine.refused, mine.requests, alpha)
    _, high = bounds(usual.refused, usual.requests, alpha)
    text = (
        f"{mine.refused} of {mine.requests} requests were refused, "
        f"the champion's {usual.refused} of {usual.requests}"
    )
    share = usual.refused / usual.requests + rules.error_margin
    yield Check(
        text,
        is_fault=low > high + rules.error_margin,
        is_doubtful=mine.refused > share * mine.requests,
    )


def _latency(rules: Deployment, seen: Seen, alpha: float) -> Check:
    mine = seen.candidate.latencies
    found = quantile(mine)
    text = f"99th percentile {_ms(found)}"
    for limit, name in _limits(rules, seen.champion, alpha):
        slow, of = _slower(mine, limit)
        if bounds(slow, of, alpha)[0] > SLOWEST:
            return Check(f"{slow} of {of} requests took longer than {name}", is_fault=True)
        if found > limit:
            return Check(f"{text}, longer than {name}", is_doubtful=True)
    return Check(text)


def _limits(
    rules: Deployment, champion: Counts | None, alpha: float
) -> Iterator[tuple[float, str]]:
    yield rules.latency_p99_ms / 1000, f"the limit of {rules.latency_p99_ms:g} ms"
    if champion is None:
        return
    for bound in sorted(champion.latencies):
        slow, of = _slower(champion.latencies, bound)
        if bounds(slow, of, alpha)[1] <= SLOWEST:
            usual = f"{rules.latency_ratio:g} times the champion's 99th percentile of {_ms(bound)}"
            yield bound * rules.latency_ratio, usual
            return


def quantile(latencies: Mapping[float, int], share: float = 1 - SLOWEST) -> float:
    """The upper bound of the bucket in which the quantile is, in seconds; 0 without requests.

    >>> quantile({0.1: 98, 0.5: 1, 2.0: 1}), quantile({})
    (0.5, 0.0)
    """
    total, so_far = sum(latencies.values()), 0
    for bound in sorted(latencies):
        so_far += latencies[bound]
        if so_far >= share * total:
            return bound if total else 0.0
    return 0.0


def _slower(latencies: Mapping[float, int], limit: float) -> tuple[int, int]:
    """Requests that surely took longer: those in buckets that begin at the limit or above."""
    slow, lower = 0, 0.0
    for bound in sorted(latencies):
        slow += latencies[bound] if lower >= limit else 0
        lower = bound
    return slow, sum(latencies.values())


def _quality(rules: Deployment, mine: Counts, usual: Counts, alpha: float) -> Check:
    low, _ = bounds(mine.wrong, mine.labelled, alpha)
    _, high = bounds(usual.wrong, usual.labelled, alpha)
    text = (
        f"{mine.wrong} of {mine.labelled} labelled rows answered wrongly, "
        f"the champion's {usual.wrong} of {usual.labelled}"
    )
    share = usual.wrong / usual.labelled + rules.quality_margin
    return Check(
        text,
        is_fault=low > high + rules.quality_margin,
        is_doubtful=mine.wrong > share * mine.labelled,
    )


def _against_the_answers_given(rules: Deployment, found: Shadow, alpha: float) -> Iterator[Check]:
    low, high = bounds(found.disagreements, found.rows, alpha)
    text = f"{found.disagreements} of {found.rows} answers differ from the champion's"
    if rules.disagreement is None:
        yield Check(text)
    else:
        text += f", {rules.disagreement:.0%} may"
        yield Check(text, is_fault=low > rules.disagreement, is_enough=high <= rules.disagreement)
    told = found.only_champion_right + found.only_candidate_right
    if told:
        least, _ = bounds(found.only_champion_right, told, alpha)
        yield Check(
            f"of {told} labelled rows that one of them got right, "
            f"the champion got {found.only_champion_right}",
            is_fault=least > NEVER_WORSE,
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
