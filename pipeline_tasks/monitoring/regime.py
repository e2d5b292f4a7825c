"""The world since it last changed: what the history says, and what is trained on since then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pipeline_tasks.core.store import RETRAINING
from pipeline_tasks.core.values import Answer, Champion, HistoryEntry, MonitoringRecord
from pipeline_tasks.observations import Observation
from pipeline_tasks.sections.production import Retraining

CHANGE = "change.json"
# In the summaries of what is prepared, refitted and exported.
LEARNED, OBSERVED = "learned_until", "observed_until"


@dataclass(frozen=True)
class Change:
    """A detected change that was answered by training.

    at: when, by estimate. first_rows: labelled observations since then, when its first retraining
    was decided. episodes: what has been decided on it, the first retraining first.
    """

    at: str
    first_rows: int
    episodes: tuple[str, ...]


def latest(history: Iterable[HistoryEntry]) -> Change | None:
    """The last change that was trained on, if there was one."""
    found = [entry for entry in history if entry.event == RETRAINING and entry.changed_at]
    trained = [entry for entry in found if entry.answer is Answer.YES]
    if not trained:
        return None
    at = trained[-1].changed_at
    first = next(entry for entry in trained if entry.changed_at == at)
    answered = [
        entry.episode
        for entry in found
        if entry.changed_at == at and entry.answer in (Answer.YES, Answer.ASK)
    ]
    return Change(at, int(first.numbers.get("labelled") or 0), tuple(dict.fromkeys(answered)))


def changed_at(record: MonitoringRecord, records: Sequence[MonitoringRecord], since: str) -> str:
    """When production changed, by estimate: the record's own, or the begin of its episode.

    That is up to where the last look before the episode saw. since: when the champion was promoted.
    """
    if record.changed_at:
        return record.changed_at
    before = since
    for one in records:
        if one.episode == record.episode:
            break
        if one.version == record.version:
            before = one.prediction_watermark
    return max(before, since)


def trained_on(
    found: Iterable[Observation], rules: Retraining, change: Change | None
) -> list[Observation]:
    """What training takes of these: all since the change, and a share of the earlier ones.

    The same rows are taken in every run: whether one is depends on its content alone.
    """
    if change is None:
        return list(found)
    return [
        pair
        for pair in found
        if pair.prediction.time > change.at or _place(pair.prediction.inputs) < rules.replay_share
    ]


def learned_until(champion: Champion | None) -> str:
    """When the newest observation was that the champion has learned; empty if there is none."""
    if champion is None:
        return ""
    refit, trained = champion.exported.summary, champion.prepared.summary
    return str(refit.get(LEARNED) or trained.get(LEARNED) or "")


def changed_at_of(raw: Path) -> str:
    """When production changed, as the artifact `raw` says; empty if it says nothing."""
    path = raw / CHANGE
    return str(json.loads(path.read_text())["changed_at"]) if path.is_file() else ""


def _place(inputs: dict[str, Any]) -> float:
    """A number from 0 to 1 that depends on the content alone."""
    content = json.dumps(inputs, sort_keys=True).encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest()) / 2.0**64
