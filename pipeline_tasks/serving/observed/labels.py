"""True labels by prediction id, as clients report them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.observations import LABELS
from pipeline_tasks.observations.segments import Writer
from pipeline_tasks.observations.telling import PREDICTION_ID, Told, line, misfit
from pipeline_tasks.serving.rest.failures import Failure, bad_request
from pipeline_tasks.serving.rest.parsing import parse

KEYS = {"id", "label", "time"}
REMEMBERED = 50_000
FORM = 'expected {"id": "<prediction id>", "label": ...} or {"labels": [{"id": ..., "label": ...}]}'


class Labels:
    """Keeps what clients tell, each request whole or not at all, on the disk before it is answered.

    The later label of an id corrects the earlier one, which stays in the history.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._writers: dict[str, Writer] = {}
        self._known: dict[tuple[str, str], Told] = {}

    async def accept(self, model: str, body: bytes) -> dict[str, int]:
        """Keep the labels of one request; returns how many, and of these what is known of.

        unchanged: the id has this label already, and nothing is written. corrected: it had another.
        Only the latest 50,000 labels of this process are remembered for that. Raises a Failure.
        """
        try:
            return await asyncio.to_thread(self._keep, model, body)
        except OSError as error:
            message = f"the labels could not be kept: {error.strerror}"
            raise Failure(503, message, retry_after_seconds=10) from error

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for writer in self._writers.values():
                writer.close()

    def _keep(self, model: str, body: bytes) -> dict[str, int]:
        labels = told(parse(body))
        with self._lock:
            known = {key: self._known.get((model, key)) for key in labels}
            new = {key: label for key, label in labels.items() if known[key] != label}
            if new:
                self._write(model, new)
        corrected = [one for key, one in new.items() if (known[key] or one).label != one.label]
        unchanged = len(labels) - len(new)
        return {"accepted": len(labels), "unchanged": unchanged, "corrected": len(corrected)}

    def _write(self, model: str, labels: Mapping[str, Told]) -> None:
        moment = clock.text(clock.now())
        if model not in self._writers:
            self._writers[model] = Writer(self._store.observations(model) / LABELS)
        lines = b"".join(line(key, label, moment) for key, label in labels.items())
        self._writers[model].append(moment, lines, is_durable=True)
        for key, label in labels.items():
            self._known.pop((model, key), None)
            self._known[model, key] = label
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]


def told(document: Any) -> dict[str, Told]:
    """The labels in a request, by prediction id. Raises a Failure that says which is wrong."""
    is_object = isinstance(document, dict)
    entries = document.get("labels", [document]) if is_object else None
    is_mixed = is_object and "labels" in document and document.keys() & KEYS
    if not isinstance(entries, list) or not entries or is_mixed:
        raise bad_request(FORM)
    labels: dict[str, Told] = {}
    places: dict[str, str] = {}
    for number, entry in enumerate(entries):
        place = f"labels[{number}]" if "labels" in document else "the label"
        identity, label = _entry(entry, place)
        if labels.setdefault(identity, label) != label:
            other = labels[identity].label
            raise bad_request(
                f"{place}: {identity} is {label.label!r:.80}, and {other!r:.80} in "
                f"{places[identity]}; tell one label for each id"
            )
        places.setdefault(identity, place)
    return labels


def _entry(entry: Any, place: str) -> tuple[str, Told]:
    if not isinstance(entry, dict) or not {"id", "label"} <= entry.keys() <= KEYS:
        keys = f"the keys {sorted(entry)}" if isinstance(entry, dict) else f"{entry!r:.80}"
        raise bad_request(f"{place}: has {keys:.200}; {FORM}")
    identity = entry["id"]
    if not isinstance(identity, str) or not PREDICTION_ID.fullmatch(identity):
        raise bad_request(f"{place}: id must be a prediction id, found {identity!r:.80}")
    if problem := misfit(entry["label"]):
        raise bad_request(f"{place}: label must be {problem}, found {entry['label']!r:.80}")
    try:
        moment = clock.utc(entry["time"]) if "time" in entry else ""
    except (ValueError, TypeError, OverflowError):
        wanted = "a moment in ISO 8601 with its zone, such as 2026-01-31T13:45:00Z"
        raise bad_request(f"{place}: time must be {wanted}, found {entry['time']!r:.80}") from None
    return identity, Told(entry["label"], moment)
