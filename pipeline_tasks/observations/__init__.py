"""Observations: the predictions servers logged, each with its label once it arrived.

<observations>/predictions/...   what clients were answered: one Prediction a row
<observations>/shadow/...        what candidates would have answered, with the same ids
<observations>/labels/...        one TrueLabel a line; one of a later moment corrects
Below each, lines in segments by day (see segments), and Parquet of those that are closed (see
rotation). Moments are ISO 8601 in UTC as `clock.text` writes them, so their order is that of text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import JsonValue

from pipeline_tasks.observations import rotation, segments
from pipeline_tasks.observations.segments import Line

JOINED = "observations.jsonl"
LABELS = "labels"
PREDICTIONS: Literal["predictions"] = "predictions"
SHADOW: Literal["shadow"] = "shadow"
END = "9"
# A request's answer may be logged on the day after its id was given, and clocks may differ.
SLACK = timedelta(minutes=5)
Truth = str | int | float


class Prediction(NamedTuple):
    """One answered row; `time` is when it was answered.

    share: of the requests that were logged then, so that a row stands for 1/share. route: the label
    or trial by which its version was found. sequence: of the request in its server process, without
    gaps where nothing was dropped.
    """

    id: str
    time: str
    version: int
    inputs: dict[str, JsonValue]
    outputs: dict[str, JsonValue]
    latency_ms: float
    share: float = 1.0
    model: str = ""
    route: str = ""
    request_id: str = ""
    caller: str = ""
    server: str = ""
    sequence: int = 0


class TrueLabel(NamedTuple):
    """The truth about one prediction: when it arrived, and when it was true, if that was told."""

    id: str
    time: str
    label: Truth
    observed_at: str = ""

    @property
    def order(self) -> tuple[str, str]:
        """The greatest counts: true last, or, of those true at once, arrived last."""
        return self.observed_at or self.time, self.time


class Observation(NamedTuple):
    """A prediction joined with its label."""

    prediction: Prediction
    label: TrueLabel


def predictions(
    folder: Path,
    *,
    since: str = "",
    until: str = END,
    ids: Collection[str] | None = None,
    kind: Literal["predictions", "shadow"] = PREDICTIONS,
) -> Iterator[Prediction]:
    """Logged predictions with since < time <= until, in no particular order.

    ids: only these; the days of ids that `day_range` understands are the only ones read. Costs the
    rows of the days it reads, and the memory of a few MiB of them at a time.
    """
    place = folder / kind
    for day in _days_of(ids, segments.days(place, since, until)):
        for rows in rotation.read(place, day, since=since, until=until, ids=ids):
            yield from map(_prediction, rows)


def shadows(
    folder: Path, *, since: str = "", until: str = END, ids: Collection[str] | None = None
) -> Iterator[Prediction]:
    """What versions in a shadow answered to requests that clients got another version's answer to.

    Each has the id of the answer that the client got, and the label that arrives for that id.
    """
    return predictions(folder, since=since, until=until, ids=ids, kind=SHADOW)


def labels(
    folder: Path, *, since: str = "", until: str = END, ids: Collection[str] | None = None
) -> dict[str, TrueLabel]:
    """Labels that arrived with since < time <= until, by prediction id: the one that counts."""
    found: dict[str, TrueLabel] = {}
    for label in _arrivals(folder, since, until, ids):
        known = found.get(label.id)
        if known is None or known.order <= label.order:
            found[label.id] = label
    return found


def label_history(
    folder: Path,
    *,
    since: str = "",
    until: str = END,
    ids: Collection[str] | None = None,
) -> dict[str, list[TrueLabel]]:
    """Every label of each id, corrections included, oldest first; the last one counts."""
    found: dict[str, list[TrueLabel]] = {}
    for label in _arrivals(folder, since, until, ids):
        found.setdefault(label.id, []).append(label)
    return {key: sorted(each, key=lambda label: label.order) for key, each in found.items()}


def labelled(
    folder: Path,
    *,
    since: str = "",
    until: str = END,
    latest: int | None = None,
    kind: Literal["predictions", "shadow"] = PREDICTIONS,
) -> list[Observation]:
    """Predictions whose label has arrived by `until`, joined by id, oldest prediction first.

    latest: only that many, the newest predictions; earlier days are not read then.
    """
    found: list[Observation] = []
    for rows, truths in _matched(folder / kind, folder / LABELS, since, until):
        found += [Observation(_prediction(row), truths[row["id"]]) for row in rows]
        if latest is not None and len(found) >= latest:
            break
    found.sort(key=lambda pair: (pair.prediction.time, pair.prediction.id))
    return found if latest is None else found[max(0, len(found) - latest) :]


def count_labelled(folder: Path, *, since: str = "", until: str = END) -> int:
    """How many observations `labelled` would return; reads the ids alone."""
    place = folder / PREDICTIONS
    matched = _matched(place, folder / LABELS, since, until, is_keys=True)
    return sum(len(rows) for rows, _ in matched)


def rotate(folder: Path) -> int:
    """Make Parquet of the closed segments of predictions; returns how many rows that were."""
    return sum(rotation.rotate(folder / kind) for kind in (PREDICTIONS, SHADOW))


def settle(folder: Path) -> None:
    """Wait a second if a server is running, so that what was answered by now is in its log."""
    segments.settle(folder / PREDICTIONS)


def day_range(identity: str) -> tuple[str, str] | None:
    """First and last day that a prediction with this id may be logged on, if the id tells.

    The ids that servers give are UUIDs of version 7 (RFC 9562), which begin with milliseconds.

    >>> day_range("019c0000000070008000000000000000-0")
    ('2026-01-27', '2026-01-27')
    """
    if len(identity) < 32 or identity[12] != "7" or identity[16] not in "89ab":
        return None
    try:
        moment = datetime.fromtimestamp(int(identity[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return (moment - SLACK).date().isoformat(), (moment + SLACK).date().isoformat()


def write_joined(path: Path, found: Iterable[Observation]) -> None:
    """Keep observations in a file, one a line."""
    with path.open("w") as file:
        file.writelines(json.dumps(pair) + "\n" for pair in found)


def read_joined(path: Path) -> list[Observation]:
    """The observations kept in a file; none when there is no such file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [
        Observation(Prediction(*prediction), TrueLabel(*label))
        for prediction, label in map(json.loads, lines)
    ]


def _prediction(line: Line) -> Prediction:
    return Prediction(**{name: line[name] for name in Prediction._fields if name in line})


def _matched(
    place: Path, told: Path, since: str, until: str, *, is_keys: bool = False
) -> Iterator[tuple[list[Line], dict[str, TrueLabel]]]:
    """The rows of one day that have labels, newest day first, and the labels read so far."""
    truths: dict[str, TrueLabel] = {}
    arrived = segments.days(told, "", until)
    for day in reversed(segments.days(place, since, until)):
        while arrived and arrived[-1] >= _day_before(day):  # none arrives before its prediction
            later, truths = truths, _labels_of_day(told.parent, arrived.pop(), until)
            _update(truths, later)
        read = rotation.read(place, day, since=since, until=until, ids=truths, is_keys=is_keys)
        yield list(chain.from_iterable(read)), truths


def _update(truths: dict[str, TrueLabel], later: dict[str, TrueLabel]) -> None:
    """With labels of a later day; one that is true of an earlier moment changes nothing."""
    for key, label in later.items():
        known = truths.get(key)
        if known is None or known.order <= label.order:
            truths[key] = label


def _arrivals(
    folder: Path, since: str, until: str, ids: Collection[str] | None
) -> Iterator[TrueLabel]:
    place = folder / LABELS
    ranges = [day_range(identity) for identity in ids] if ids is not None else [None]
    first = min((one[0] if one else "" for one in ranges), default=END)
    for day in segments.days(place, max(since, first), until):
        for path in sorted((place / day).glob("*.jsonl")):
            for line in chain.from_iterable(segments.chunks(path)):
                if since < line["time"] <= until and (ids is None or line["id"] in ids):
                    yield TrueLabel(**line)


def _labels_of_day(folder: Path, day: str, until: str) -> dict[str, TrueLabel]:
    return labels(folder, since=day, until=min(until, f"{day}T~"))


def _day_before(day: str) -> str:
    return (datetime.fromisoformat(day) - timedelta(days=1)).date().isoformat()


def _days_of(ids: Collection[str] | None, days: list[str]) -> list[str]:
    """Those of the days on which one of the ids may have been logged."""
    ranges = {day_range(identity) for identity in ids} if ids is not None else {None}
    if None in ranges:
        return days
    return [day for day in days if any(one and one[0] <= day <= one[1] for one in ranges)]
