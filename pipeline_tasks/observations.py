"""Observations: the predictions a server logged, each with its label once it arrived.

<observations>/predictions/<YYYY-MM-DD>/<segment>.jsonl   one Prediction a line, appended by servers
<observations>/labels/<YYYY-MM-DD>/<segment>.jsonl        one TrueLabel a line; a later one corrects
Folders are named by the UTC date of the moment the line was written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue

JOINED = "observations.jsonl"


class Prediction(NamedTuple):
    """One answered row. `time` is ISO 8601 UTC as `clock.text` writes it."""

    id: str
    time: str
    version: int
    inputs: dict[str, JsonValue]
    outputs: dict[str, JsonValue]
    latency_ms: float


class TrueLabel(NamedTuple):
    """The truth about one prediction, known later."""

    id: str
    time: str
    label: str | int | float


class Observation(NamedTuple):
    """A prediction joined with its label."""

    prediction: Prediction
    label: TrueLabel


def predictions(folder: Path, *, since: str = "", until: str = "9") -> Iterator[Prediction]:
    """Logged predictions with since < time <= until, in no particular order."""
    for line in _lines(folder / "predictions", since, until):
        if since < line["time"] <= until:
            yield Prediction(**line)


def labels(folder: Path, *, since: str = "", until: str = "9") -> dict[str, TrueLabel]:
    """Labels that arrived with since < time <= until, by prediction id; the latest one counts."""
    found: dict[str, TrueLabel] = {}
    for line in _lines(folder / "labels", since, until):
        label = TrueLabel(**line)
        known = found.get(label.id)
        if since < label.time <= until and (known is None or known.time <= label.time):
            found[label.id] = label
    return found


def labelled(folder: Path, *, since: str = "", until: str = "9") -> list[Observation]:
    """Predictions whose label has arrived by `until`, joined by id, oldest prediction first."""
    truths = labels(folder, until=until)
    pairs = (
        Observation(prediction, truths[prediction.id])
        for prediction in predictions(folder, since=since, until=until)
        if prediction.id in truths
    )
    return sorted(pairs, key=lambda pair: (pair.prediction.time, pair.prediction.id))


def write_joined(path: Path, found: Iterable[Observation]) -> None:
    """Keep observations in a file, one a line."""
    path.write_text("".join(json.dumps(pair) + "\n" for pair in found))


def read_joined(path: Path) -> list[Observation]:
    """The observations kept in a file; none when there is no such file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [
        Observation(Prediction(*prediction), TrueLabel(*label))
        for prediction, label in map(json.loads, lines)
    ]


def _lines(folder: Path, since: str, until: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*/*.jsonl")):
        if since[:10] <= path.parent.name <= until[:10]:
            yield from _whole_lines(path)


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
