"""May the candidate replace the champion?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.decisions.pairing import Pair, chance_of_gain
from pipeline_tasks.sections.settings import Promotion

Check = tuple[bool, str]
INCOMPARABLE = (
    "Keep a column that the source still has with `input: false` until the next promotion, or "
    "approve this candidate: clients have to change with it anyway"
)


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


@dataclass(frozen=True)
class Scale:
    """Which way a metric is better, and whether it is in the label's own unit."""

    is_error: bool = False
    has_unit: bool = False

    @classmethod
    def of(cls, metric: ModuleType) -> Scale:
        """That of a metric's module."""
        return cls(not metric.HIGHER_IS_BETTER, getattr(metric, "HAS_UNIT", False))

    def gain(self, candidate: float, champion: float) -> float:
        """How much better the candidate is."""
        return champion - candidate if self.is_error else candidate - champion

    def margin(self, share: float, champion: float) -> float:
        """A margin of the pipeline file on the metric's scale."""
        return share * abs(champion) if self.has_unit else share

    def margin_text(self, share: float, champion: float) -> str:
        """The margin for the reasons.

        >>> Scale().margin_text(0.02, 0.9), Scale(has_unit=True).margin_text(0.02, 50.0)
        ('0.02', "1 (0.02 of the champion's)")
        """
        text = f"{self.margin(share, champion):.4g}"
        return f"{text} ({share:.3g} of the champion's)" if self.has_unit and share else text


def promotion(
    rules: Promotion,
    splits: Mapping[str, Judged],
    *,
    scales: Mapping[str, Scale] | None = None,
    obstacles: Sequence[str] = (),
    cost: Cost | None = None,
    approved_by: str = "",
) -> Verdict:
    """Yes when the candidate is good enough, and better where production has been labelled.

    splits: `test` always, `recent` when there are enough labelled observations. On `recent` the
    candidate must beat the champion; without it, it must not fall behind on `test` by more than
    the margin, nor in a slice by more than the slices' margin. `minimum` and `thresholds` are asked
    of the test rows, which drift does not touch. scales: of each metric that is not as usual.
    obstacles: why the champion cannot be compared with; then only a person can say yes.
    approved_by: the person who takes the candidate in spite of the rules; the reasons stay.
    """
    verdict = _by_the_rules(rules, splits, scales or {}, cost or Cost(), bool(obstacles))
    verdict = _incomparable(verdict, obstacles) if obstacles else verdict
    if verdict.is_yes or not approved_by:
        return verdict
    approval = f"approved by {approved_by}, although by the rules the answer is {_said(verdict)}:"
    return Verdict(answer=Answer.YES, reasons=(approval, *verdict.reasons))


def _said(verdict: Verdict) -> str:
    return verdict.answer.value.replace("_", " ")


def _incomparable(verdict: Verdict, obstacles: Sequence[str]) -> Verdict:
    answer = Answer.NOT_ENOUGH_DATA if verdict.is_yes else verdict.answer
    why = f"the champion cannot be compared with: {', and '.join(obstacles)}. {INCOMPARABLE}"
    return Verdict(answer=answer, reasons=(why, *verdict.reasons))


def _by_the_rules(
    rules: Promotion,
    splits: Mapping[str, Judged],
    scales: Mapping[str, Scale],
    cost: Cost,
    is_alone: bool,
) -> Verdict:
    test, recent = splits["test"], splits.get("recent")
    if test.rows < rules.minimum_rows:
        few = f"{test.rows} test rows, {rules.minimum_rows} needed to prove anything"
        return Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(few,))
    checks = list(_thresholds(rules, test, scales))
    if recent and recent.rows < rules.minimum_rows:
        few = f"only {recent.rows} latest labelled rows, {rules.minimum_rows} needed: test decides"
        checks, recent = [*checks, (True, few)], None
    scale = scales.get(rules.metric, Scale())
    checks += [] if is_alone else _against_champion(rules, test, recent, scale)
    checks += _slices(rules, recent or test, scale)
    checks += _limits(rules, cost)
    is_yes = all(is_passed for is_passed, _ in checks)
    reasons = tuple(reason for _, reason in checks)
    return Verdict(answer=Answer.YES if is_yes else Answer.NO, reasons=reasons)


def _thresholds(rules: Promotion, test: Judged, scales: Mapping[str, Scale]) -> Iterator[Check]:
    asked = {} if rules.minimum is None else {rules.metric: rules.minimum}
    values = {**test.others, rules.metric: test.candidate}
    for metric, limit in (asked | rules.thresholds).items():
        value, scale = values.get(metric, math.nan), scales.get(metric, Scale())
        yield _threshold(metric, value, limit, test.rows, scale.is_error)
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
    rules: Promotion, test: Judged, recent: Judged | None, scale: Scale
) -> Iterator[Check]:
    judged = recent or test
    if judged.champion is None:
        yield True, "this is the first model: there is no other champion to compare with"
        return
    gain = scale.gain(judged.candidate, judged.champion)
    is_passed, wanted = (_on_recent if recent else _on_test)(rules, judged, gain, scale)
    tie = ", a tie" if gain == 0 else ""
    lower = ", lower is better" if scale.is_error else ""
    yield (
        is_passed,
        f"{rules.metric} {judged.candidate:.4f} against the champion's {judged.champion:.4f} "
        f"on the same {judged.rows} {'latest labelled' if recent else 'test'} rows "
        f"({judged.candidate - judged.champion:+.4f}{tie}{lower}, {wanted})",
    )


def _on_recent(rules: Promotion, judged: Judged, gain: float, scale: Scale) -> Check:
    if rules.on_recent == "proven_not_worse":
        return _not_worse(rules, judged, gain, scale)
    chance, test = chance_of_gain(judged.pair, higher_is_better=not scale.is_error)
    known = _chance_text(chance, test, "better")
    if rules.on_recent == "better":
        return gain > 0, f"it must be better there{known}"
    is_proven = gain > 0 and chance <= 1.0 - rules.confidence
    return is_proven, f"it must be proven better there at {rules.confidence:.0%}{known}"


def _on_test(rules: Promotion, judged: Judged, gain: float, scale: Scale) -> Check:
    champion = judged.champion or 0.0
    margin = scale.margin(rules.margin, champion)
    may = f"it may be worse by {scale.margin_text(rules.margin, champion)}"
    if rules.on_test == "proven_not_worse":
        return _not_worse(rules, judged, gain, scale)
    # McNemar's test knows no margin: whether a loss is an accident is asked of all of it.
    chance, test = chance_of_gain(judged.pair, higher_is_better=not scale.is_error)
    worse, better = (1.0 - chance, test, "worse"), (chance, test, "better")
    known = _chance_text(*(better if gain > 0 else worse))
    if rules.on_test == "not_worse":
        return gain >= -margin, may + known
    is_worse = gain < -margin and not 1.0 - chance > 1.0 - rules.confidence
    is_passed = not is_worse and not math.isnan(gain)
    return is_passed, f"{may}, or more if that may be chance at {rules.confidence:.0%}{known}"


def _not_worse(rules: Promotion, judged: Judged, gain: float, scale: Scale) -> Check:
    champion = judged.champion or 0.0
    margin = scale.margin(rules.margin, champion)
    chance, test = chance_of_gain(judged.pair, higher_is_better=not scale.is_error, margin=margin)
    known = _chance_text(chance, test, "within that")
    is_proven = gain >= -margin and chance <= 1.0 - rules.confidence
    may = f"it may be worse by {scale.margin_text(rules.margin, champion)}"
    return is_proven, f"{may}, which must be proven at {rules.confidence:.0%}{known}"


def _chance_text(chance: float, test: str, what: str) -> str:
    if math.isnan(chance):
        return ", no paired test: nothing was resampled"
    return f", {test} p {chance:.2g} that it is {what} by chance"


def _slices(rules: Promotion, judged: Judged, scale: Scale) -> Iterator[Check]:
    large = [one for one in judged.slices if one.rows >= rules.minimum_rows]
    worse = [one for one in large if not _is_within(rules, one, scale)]
    for one in worse:
        may = scale.margin_text(rules.slice_margin, one.champion)
        yield (
            False,
            f"slice {one.name}: {rules.metric} {one.candidate:.4f} against the champion's "
            f"{one.champion:.4f} on the same {one.rows} rows "
            f"({one.candidate - one.champion:+.4f}, it may be worse by {may})",
        )
    if judged.slices and not worse:
        small = len(judged.slices) - len(large)
        yield (
            True,
            f"in none of {len(large)} slices is it worse than the champion by more than "
            f"{rules.slice_margin:g}{' of its' if scale.has_unit else ''} "
            f"({small} more have fewer than {rules.minimum_rows} rows)",
        )


def _is_within(rules: Promotion, one: Slice, scale: Scale) -> bool:
    """Where neither model's metric is defined, that is no loss."""
    if math.isnan(one.candidate) and math.isnan(one.champion):
        return True
    margin = scale.margin(rules.slice_margin, one.champion)
    return scale.gain(one.candidate, one.champion) >= -margin


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
