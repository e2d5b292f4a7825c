"""What the store says of a pipeline, read once: a journal costs its new lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

import orjson
from pydantic import ValidationError

from pipeline_tasks.core import keys
from pipeline_tasks.core.artifact import MANIFEST, Manifest
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref
from pipeline_tasks.release import releasing

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, where one is known."""

    value: float
    low: float | None = None
    high: float | None = None
    rows: int = 0


@dataclass(frozen=True)
class Look:
    """One look at production: a monitoring record with the numbers that a page shows.

    drifted: how many features have drifted, of how many that were compared; None where the record
    does not say.
    """

    id: str
    at: str
    version: int | None
    answer: str
    reasons: tuple[str, ...]
    causes: tuple[str, ...]
    episode: str
    report: Ref
    predictions: int
    labelled: int
    is_answering: bool | None
    memory_mb: float | None
    latency_ms: Mapping[str, float]
    errors: int | None
    quality: Estimate | None
    estimated: Estimate | None
    drifted: tuple[int, int] | None


class Lines(Generic[Parsed]):
    """A growing journal, parsed as far back as it is asked for: what was parsed before is kept."""

    def __init__(self, parse: Callable[[str], Parsed]) -> None:
        self._parse = parse
        self._texts: list[str] = []
        self._parsed: dict[int, Parsed] = {}
        self._lock = Lock()

    def newest(self, texts: list[str], count: int | None = None) -> list[Parsed]:
        """The values of the last `count` lines, of all of them without; none is parsed twice."""
        with self._lock:
            if texts[: len(self._texts)] != self._texts:  # merged in another order elsewhere
                self._parsed = {}
            self._texts = texts
            wanted = range(max(0, len(texts) - (count or len(texts))), len(texts))
            self._parsed |= {at: self._parse(texts[at]) for at in wanted if at not in self._parsed}
            return [self._parsed[at] for at in wanted]

    def distinct(self) -> int:
        """How many values there are; a later line with the same id, its first key, is the same."""
        return len({text.partition('","')[0] for text in self._texts})


class Journals:
    """History and looks of every pipeline in one store, kept in this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._history: dict[str, Lines[HistoryEntry]] = {}
        self._looks: dict[str, Lines[Look]] = {}
        self._versions: dict[str, tuple[int, list[Champion]]] = {}

    def history(self, pipeline: str) -> list[HistoryEntry]:
        """Every decision, oldest first."""
        lines = self._history.setdefault(pipeline, Lines(HistoryEntry.model_validate_json))
        return lines.newest(self.store.kept.lines(f"{pipeline}/history"))

    def looks(self, pipeline: str, newest: int) -> list[Look]:
        """The newest looks at production, oldest first, the last of each id."""
        lines = self._looks.setdefault(pipeline, Lines(_look))
        found = lines.newest(self.store.kept.lines(f"{pipeline}/monitoring"), newest)
        return list({look.id: look for look in found}.values())

    def look_count(self, pipeline: str) -> int:
        """How many looks there were when `looks` was last asked; a repeated one counts once."""
        lines = self._looks.get(pipeline)
        return lines.distinct() if lines else 0

    def versions(self, pipeline: str, history: Sequence[HistoryEntry]) -> list[Champion]:
        """The newest twenty that were champion once, newest first; read when history has grown."""
        count, found = self._versions.get(pipeline, (0, []))
        if count != len(history):
            numbers = {one.version for one in history if one.event == "promotion" and one.version}
            newest = sorted(numbers, reverse=True)[: releasing.MOST_SHOWN]
            places = [keys.version(pipeline, number) for number in newest]
            texts = self.store.kept.read_all(places)
            found = [Champion.model_validate_json(texts[one]) for one in places if one in texts]
            self._versions[pipeline] = len(history), found
        return found


def _look(line: str) -> Look:
    record = orjson.loads(line)
    numbers = record["numbers"]
    report = record["report"]
    return Look(
        id=record["id"],
        at=record["at"],
        version=record["version"],
        answer=record["verdict"]["answer"],
        reasons=tuple(record["verdict"]["reasons"]),
        causes=tuple(record["causes"]),
        episode=record["episode"],
        report=Ref.model_construct(**{**report, "summary": {}}),
        predictions=numbers.get("predictions") or 0,
        labelled=numbers.get("labelled") or 0,
        is_answering=numbers.get("server_is_answering"),
        memory_mb=numbers.get("server_memory_mb"),
        latency_ms=_latencies(numbers),
        errors=numbers.get("errors"),
        quality=_estimate(numbers, "quality", "labelled"),
        estimated=_estimate(numbers, "estimated", "predictions"),
        drifted=_pair(numbers, "drifted", "compared"),
    )


def _latencies(numbers: Mapping[str, Any]) -> dict[str, float]:
    keys = {share: f"latency_{share}_ms" for share in ("p50", "p95", "p99")}
    return {share: numbers[key] for share, key in keys.items() if numbers.get(key) is not None}


def _pair(numbers: Mapping[str, Any], part: str, whole: str) -> tuple[int, int] | None:
    found = numbers.get(part), numbers.get(whole)
    return (found[0], found[1]) if None not in found else None  # type: ignore[return-value]


def _estimate(numbers: Mapping[str, Any], name: str, rows: str) -> Estimate | None:
    value = numbers.get(name)
    if value is None:
        return None
    low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
    return Estimate(value, low, high, numbers.get(rows) or 0)


def manifest(store: Store, pipeline: str, run: str, artifact: str) -> tuple[Ref, Manifest] | None:
    """The artifact of this name that a run made, if it made one that is whole."""
    text = store.kept.read(f"{keys.place(pipeline, run, artifact)}/{MANIFEST}")
    if text is None:
        return None
    try:
        found = Manifest.model_validate_json(text)
    except ValidationError:
        return None
    ref = Ref(
        pipeline=pipeline,
        run=run,
        artifact=artifact,
        digest=found.digest,
        summary=found.summary,
    )
    return ref, found
