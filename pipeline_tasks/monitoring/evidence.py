"""What speaks for a retraining, gathered from the store; `decisions.retraining` weighs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from pipeline_tasks import observations
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import RETRAINING, read_json, read_manifest
from pipeline_tasks.core.values import (
    Answer,
    Champion,
    HistoryEntry,
    MonitoringRecord,
    Scalar,
)
from pipeline_tasks.decisions.pairing import Pair, chance_of_gain
from pipeline_tasks.decisions.retraining import (
    FOLLOW_UP,
    FORCED,
    MENDED_BY_TRAINING,
    Decision,
    Evidence,
    Regime,
    in_vain,
    retraining,
)
from pipeline_tasks.monitoring import regime
from pipeline_tasks.run import Run

DUE, BY_HAND = "due", "by_hand"


@dataclass(frozen=True)
class Known:
    """The past as a decision sees it: without what its own run has written.

    record: the degraded look that is decided on, if that is why. since: the last training or
    person's no. changed_at: when production changed; empty if it is not known to have.
    """

    history: Sequence[HistoryEntry]
    records: Sequence[MonitoringRecord]
    champion: Champion | None
    record: MonitoringRecord | None
    change: regime.Change | None

    @property
    def decisions(self) -> list[HistoryEntry]:
        return [entry for entry in self.history if entry.event == RETRAINING]

    @property
    def trained(self) -> list[HistoryEntry]:
        return [entry for entry in self.decisions if entry.answer is Answer.YES]

    @property
    def promoted_at(self) -> str:
        return self.champion.promoted_at if self.champion else ""

    @property
    def since(self) -> str:
        answered = (Answer.YES, Answer.ASK)
        moments = [entry.at for entry in self.decisions if entry.answer in answered]
        return max([self.promoted_at, *moments])

    @property
    def changed_at(self) -> str:
        if self.record is not None:
            return regime.changed_at(self.record, self.records, self.promoted_at)
        return self.change.at if self.change else ""


def known(run: Run, record: MonitoringRecord | None = None) -> Known:
    """What the store knows now."""
    name = run.config.name
    history = [entry for entry in run.store.history(name) if entry.run != run.id]
    return Known(
        history=history,
        records=run.store.monitoring(name),
        champion=run.store.champion(name),
        record=record,
        change=regime.latest(history),
    )


def gather(run: Run, past: Known, *, forced: str = "", is_whole: bool = True) -> Evidence:
    """The evidence of one decision. Unless it is whole, nothing is counted in the log."""
    record = past.record if past.record and past.record.verdict.is_yes else None
    now = clock.now()
    minutes = [(now - clock.parse(entry.at)).total_seconds() / 60 for entry in past.trained]
    days = timedelta(days=run.config.retraining.budget.days).total_seconds() / 60
    count = _Count(run, is_whole=is_whole)
    return Evidence(
        causes=record.causes if record else (),
        reasons=record.verdict.reasons if record else (),
        is_answered=record is not None and _is_answered(past, record),
        labelled=count.since(past.changed_at or past.promoted_at),
        new_rows=count.since(past.since),
        age_days=_days(past.since) if past.champion else None,
        minutes_since=min(minutes, default=None),
        retrainings=sum(one < days for one in minutes),
        in_vain=in_vain(list(_gains(run, past))) if is_whole else 0,
        regime=_regime(past, count),
        forced=forced,
    )


def occasion(run: Run, counted: str = "") -> tuple[str, str]:
    """What is worth a decision now, or nothing; and the look up to which was counted.

    Is it a degraded look that nobody has decided on: its id; is it anything else: `due`. counted:
    what the last call answered; observations are counted after each look of `monitor` alone.
    """
    if record := run.store.undecided(run.config.name):
        return record.id, counted
    past = known(run)
    newest = past.records[-1].id if past.records else ""
    evidence = gather(run, past, is_whole=newest != counted)
    answer = retraining(run.config.retraining, evidence).verdict.answer
    return (DUE if answer in (Answer.YES, Answer.ASK) else ""), newest


def episode(run: Run, past: Known, decision: Decision) -> str:
    """What names this occasion: the same one is trained on once, however often it is decided on."""
    causes = decision.causes
    if FORCED in causes:
        return f"{BY_HAND}__{run.id}"
    if past.record and (not causes or set(causes) & {*MENDED_BY_TRAINING}):
        return past.record.episode
    if FOLLOW_UP in causes and past.change:
        return f"{past.change.episodes[0]}__follow_up_{len(past.change.episodes)}"
    return f"{causes[0]}__{past.since}" if causes else ""


def change_of(past: Known, decision: Decision) -> str:
    """When the change was that is trained on: what the alarm shows, or what is followed up."""
    if set(decision.causes) & {*MENDED_BY_TRAINING}:
        return past.changed_at
    return past.change.at if past.change and FOLLOW_UP in decision.causes else ""


def numbers(evidence: Evidence) -> dict[str, Scalar]:
    """The evidence as numbers for the history; of what is not known, none."""
    content: dict[str, Any] = asdict(evidence)
    facts = content | {f"regime_{key}": one for key, one in (content["regime"] or {}).items()}
    return {key: one for key, one in facts.items() if isinstance(one, int | float)}


def days_since_the_last(past: Known) -> float:
    """Days since the last decision, or since the champion was promoted."""
    return _days(max([past.promoted_at, *(entry.at for entry in past.decisions)]))


def training_seconds(run: Run, past: Known) -> float | None:
    """What the champion's training took; None when that is not known any more."""
    if past.champion is None:
        return None
    try:
        return read_manifest(run.open(past.champion.model)).seconds
    except ArtifactError:
        return None


class _Count:
    """Counts labelled observations, each beginning once."""

    def __init__(self, run: Run, *, is_whole: bool) -> None:
        self._run, self._is_whole = run, is_whole
        self._found: dict[str, int] = {}

    def since(self, moment: str) -> int:
        """Since then; 0 where nothing is counted."""
        if self._is_whole and moment not in self._found:
            folder = self._run.observations()
            self._found[moment] = observations.count_labelled(folder, since=moment)
        return self._found.get(moment, 0)


def _regime(past: Known, count: _Count) -> Regime | None:
    if past.change is None:
        return None
    newest = past.records[-1] if past.records else None
    is_degraded = newest is not None and newest.verdict.is_yes
    return Regime(
        rows=count.since(past.change.at),
        first_rows=past.change.first_rows,
        follow_ups=len(past.change.episodes) - 1,
        is_over=is_degraded and newest is not None and newest.episode not in past.change.episodes,
    )


def _is_answered(past: Known, record: MonitoringRecord) -> bool:
    """It was trained on, or a person was asked: whatever the answer, this episode is closed."""
    return any(
        entry.episode == record.episode and entry.answer in (Answer.YES, Answer.ASK)
        for entry in past.decisions
    )


def _gains(run: Run, past: Known) -> Iterator[bool]:
    """Whether each training that has come to an end was a proven gain, oldest first.

    Trainings that nobody decided on count only where they were one.
    """
    asked_for = {f"retrain__{entry.episode}" for entry in past.trained}
    ended = {
        entry.run: entry
        for entry in past.history
        if entry.event in ("promotion", "refusal", "incident")
    }
    for name, entry in ended.items():
        is_gain = entry.event == "promotion" and _is_proven(run, entry)
        if is_gain or name in asked_for:
            yield is_gain


def _is_proven(run: Run, entry: HistoryEntry) -> bool:
    """The promoted model was proven better than the one before, on the rows that judged it."""
    record = run.store.version(run.config.name, entry.version or 0)
    if record is None or record.run != entry.run:
        return False
    metric = run.config.promotion.metric
    try:
        paired: Any = read_json(run.open(record.evaluation) / "paired.json")
    except ArtifactError:
        return False
    found = (paired.get("recent") or paired.get("test") or {}).get(metric)
    pair = Pair(**{**found, "differences": tuple(found["differences"])}) if found else Pair()
    is_higher = registry.part("metrics", metric).HIGHER_IS_BETTER
    chance, _ = chance_of_gain(pair, higher_is_better=is_higher)
    return chance <= 1.0 - run.config.promotion.confidence


def _days(moment: str) -> float:
    return (clock.now() - clock.parse(moment)).total_seconds() / 86_400 if moment else 0.0
