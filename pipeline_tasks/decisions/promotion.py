"""May the candidate replace the champion?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.decisions.pairing import Pair, chance_of_gain
from pipeline_tasks.settings import Promotion

Check = tuple[bool, str]


@dataclass(frozen=True)
class Slice:
    """The promotion metric on a part of the rows, such as `colour: red`."""

    name: str
    rows: int
    candidate: float
    champion: float


@dataclass(frozen=True)
class Judged:
    """The promotion metric on one split, the candidate's other metrics, and the slices."""

    rows: int
    candidate: float
    champion: float | None
    pair: Pair = field(default_factory=Pair)
    others: Mapping[str, float] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True)
class Cost:
    """What the candidate takes; None where it is not known."""

    model_bytes: int | None = None
    ms_per_1000_rows: float | None = None


def promotion(
    rules: Promotion,
    splits: Mapping[str, Judged],
    *,
    lower_is_better: frozenset[str] = frozenset(),
    cost: Cost | None = None,
    approved_by: str = "",
) -> Verdict:
    """Yes when the candidate is good enough, and better where production has been labelled.

    splits: `test` always, `recent` when there are enough labelled observations. On `recent` the
    candidate must beat the champion; without it, it must not fall behind on `test` by more than
    the margin, nor in a slice by more than the slices' margin. `minimum` and `thresholds` are asked
    of the test rows, which drift does not touch. lower_is_better: the metrics that are errors.
    approved_by: the person who takes the candidate in spite of the rules; the reasons stay.
    """
    verdict = _by_the_rules(rules, splits, lower_is_better, cost or Cost())
    if verdict.is_yes or not approved_by:
        return verdict
    approval = f"approved by {approved_by}, although by the rules the answer is {_said(verdict)}:"
    return Verdict(answer=Answer.YES, reasons=(approval, *verdict.reasons))


def _said(verdict: Verdict) -> str:
    return verdict.answer.value.replace("_", " ")


def _by_the_rules(
    rules: Promotion, splits: Mapping[str, Judged], lower_is_better: frozenset[str], cost: Cost
) -> Verdict:
    test, recent = splits["test"], splits.get("recent")
    if test.rows < rules.minimum_rows:
        few = f"{test.rows} test rows, {rules.minimum_rows} needed to prove anything"
        return Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(few,))
    checks = list(_thresholds(rules, test, lower_is_better))
    if recent and recent.rows < rules.minimum_rows:
        few = f"only {recent.rows} latest labelled rows, {rules.minimum_rows} needed: test decides"
        checks, recent = [*checks, (True, few)], None
    is_error = rules.metric in lower_is_better
    checks += _against_champion(rules, test, recent, is_error)
    checks += _slices(rules, recent or test, is_error)
    checks += _limits(rules, cost)
    is_yes = all(is_passed for is_passed, _ in checks)
    reasons = tuple(reason for _, reason in checks)
    return Verdict(answer=Answer.YES if is_yes else Answer.NO, reasons=reasons)


def _thresholds(rules: Promotion, test: Judged, lower_is_better: frozenset[str]) -> Iterator[Check]:
    asked = {} if rules.minimum is None else {rules.metric: rules.minimum}
    values = {**test.others, rules.metric: test.candidate}
    for metric, limit in (asked | rules.thresholds).items():
        value = values.get(metric, math.nan)
        yield _threshold(metric, value, limit, test.rows, metric in lower_is_better)
    if rules.minimum is None:
        yield (
            not math.isnan(test.candidate),
            f"{rules.metric} {test.candidate:.4f} on {test.rows} test rows, and no minimum is set",
        )


def _threshold(metric: str, value: float, limit: float, rows: int, is_error: bool) -> Check:
    is_passed = value <= limit if is_error else value >= limit
    if is_error:
        is_what = "at most the maximum" if is_passed else "not at most the maximum"
    else:
        is_what = "at least the minimum" if is_passed else "below the minimum"
    return is_passed, f"{metric} {value:.4f} on {rows} test rows is {is_what} {limit:g}"


def _against_champion(
    rules: Promotion, test: Judged, recent: Judged | None, is_error: bool
) -> Iterator[Check]:
    judged = recent or test
    if judged.champion is None:
        yield True, "this is the first model: there is no other champion to compare with"
        return
    gain = (judged.champion - judged.candidate) if is_error else judged.candidate - judged.champion
    is_passed, wanted = (
        _on_recent(rules, judged, gain, is_error)
        if recent
        else _on_test(rules, judged, gain, is_error)
    )
    tie = ", a tie" if gain == 0 else ""
    lower = ", lower is better" if is_error else ""
    yield (
        is_passed,
        f"{rules.metric} {judged.candidate:.4f} against the champion's {judged.champion:.4f} "
        f"on the same {judged.rows} {'latest labelled' if recent else 'test'} rows "
        f"({judged.candidate - judged.champion:+.4f}{tie}{lower}, {wanted})",
    )


def _on_recent(rules: Promotion, judged: Judged, gain: float, is_error: bool) -> Check:
    chance, test = chance_of_gain(judged.pair, higher_is_better=not is_error)
    known = _chance_text(chance, test, "better")
    if rules.on_recent == "better":
        return gain > 0, f"it must be better there{known}"
    is_proven = gain > 0 and chance <= 1.0 - rules.confidence
    return is_proven, f"it must be proven better there at {rules.confidence:.0%}{known}"


def _on_test(rules: Promotion, judged: Judged, gain: float, is_error: bool) -> Check:
    may = f"it may be worse by {rules.margin:g}"
    if rules.on_test == "not_worse":
        return gain >= -rules.margin, may + _loss_text(judged, gain, is_error)
    chance, test = chance_of_gain(
        judged.pair, higher_is_better=not is_error, margin=_tested_margin(rules)
    )
    if rules.on_test == "proven_not_worse":
        known = _chance_text(chance, test, "within that")
        is_proven = gain >= -rules.margin and chance <= 1.0 - rules.confidence
        return is_proven, f"{may}, which must be proven at {rules.confidence:.0%}{known}"
    known = _chance_text(1.0 - chance, test, "worse")
    is_worse = gain < -rules.margin and not 1.0 - chance > 1.0 - rules.confidence
    is_passed = not is_worse and not math.isnan(gain)
    return is_passed, f"{may}, or more if that may be chance at {rules.confidence:.0%}{known}"


def _tested_margin(rules: Promotion) -> float:
    """McNemar's test knows no margin: whether a loss is an accident is asked of all of it."""
    return rules.margin if rules.on_test == "proven_not_worse" else 0.0


def _loss_text(judged: Judged, gain: float, is_error: bool) -> str:
    if not gain < 0:
        return ""
    chance, test = chance_of_gain(judged.pair, higher_is_better=not is_error)
    return _chance_text(1.0 - chance, test, "worse")


def _chance_text(chance: float, test: str, what: str) -> str:
    return "" if math.isnan(chance) else f", {test} p {chance:.2g} that it is {what} by chance"


def _slices(rules: Promotion, judged: Judged, is_error: bool) -> Iterator[Check]:
    large = [one for one in judged.slices if one.rows >= rules.minimum_rows]
    worse = [one for one in large if not _gain(one, is_error) >= -rules.slice_margin]
    for one in worse:
        yield (
            False,
            f"slice {one.name}: {rules.metric} {one.candidate:.4f} against the champion's "
            f"{one.champion:.4f} on the same {one.rows} rows "
            f"({one.candidate - one.champion:+.4f}, it may be worse by {rules.slice_margin:g})",
        )
    if judged.slices and not worse:
        small = len(judged.slices) - len(large)
        yield (
            True,
            f"in none of {len(large)} slices is it worse than the champion by more than "
            f"{rules.slice_margin:g} ({small} more have fewer than {rules.minimum_rows} rows)",
        )


def _gain(one: Slice, is_error: bool) -> float:
    """0 where neither model's metric is defined: that is no loss."""
    if math.isnan(one.candidate) and math.isnan(one.champion):
        return 0.0
    difference = one.candidate - one.champion
    return -difference if is_error else difference


def _limits(rules: Promotion, cost: Cost) -> Iterator[Check]:
    asked = (
        ("weights", "bytes", cost.model_bytes, rules.maximum_bytes),
        ("answers", "ms for 1000 rows", cost.ms_per_1000_rows, rules.maximum_ms_per_1000_rows),
    )
    for what, unit, value, limit in asked:
        if limit is not None and value is None:
            yield True, f"{what}: {unit} not known, so the limit of {limit:,} is not asked"
        elif limit is not None and value is not None:
            relation = "within" if value <= limit else "above"
            yield value <= limit, f"{what}: {value:,} {unit} are {relation} the limit {limit:,}"
