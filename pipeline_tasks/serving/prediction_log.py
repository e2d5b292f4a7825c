"""Every answered row, kept off the hot path: a bounded queue, one thread, lines in files."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.serving.codec import Array

log = logging.getLogger(__name__)

MAXIMUM_WAITING = 100_000
FLUSH_SECONDS = 0.25
SEGMENT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Answered:
    """One answered request."""

    model: str
    version: int
    id: str
    time: str
    rows: int
    arrays: Mapping[str, Array]
    outputs: Mapping[str, Array]
    latency_ms: float


class Segments:
    """Appends lines to `<folder>/<date>/<segment>.jsonl`; a new segment each day and 64 MiB."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._date = ""
        self._file: IO[bytes] | None = None

    def append(self, moment: str, lines: bytes) -> None:
        """Write whole lines that belong to the day of `moment`, and hand them to the kernel."""
        if self._file is None or moment[:10] != self._date or self._file.tell() > SEGMENT_BYTES:
            self.close()
            self._date = moment[:10]
            name = f"{moment[11:19].replace(':', '')}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
            path = self._folder / self._date / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        self._file.write(lines)

    def close(self) -> None:
        """Close the segment; the next line opens another."""
        if self._file is not None:
            self._file.close()
        self._file = None


class PredictionLog:
    """Takes answered requests without ever waiting; what does not fit is counted, not kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: queue.Queue[Answered | None] = queue.Queue(MAXIMUM_WAITING)
        self._segments: dict[str, Segments] = {}
        self.dropped = 0
        self.written = 0
        self._thread = threading.Thread(target=self._work, name="prediction log", daemon=True)
        self._thread.start()

    def add(self, answered: Answered) -> None:
        """Keep one answered request; never blocks."""
        try:
            self._queue.put_nowait(answered)
        except queue.Full:
            self.dropped += answered.rows

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _work(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            time.sleep(FLUSH_SECONDS if batch[0] else 0)
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            is_open = None not in batch
            self._write([one for one in batch if one])
        for segments in self._segments.values():
            segments.close()

    def _write(self, batch: list[Answered]) -> None:
        groups: dict[tuple[str, str], list[Answered]] = defaultdict(list)
        for one in batch:
            groups[one.model, one.time[:10]].append(one)
        for (model, _), found in groups.items():
            rows = sum(one.rows for one in found)
            try:
                folder = self._store.observations(model) / "predictions"
                segments = self._segments.setdefault(model, Segments(folder))
                segments.append(found[0].time, b"".join(map(_lines, found)))
                self.written += rows
            except (OSError, orjson.JSONEncodeError) as error:
                self.dropped += rows
                self._segments.pop(model, Segments(Path())).close()
                log.error("%s predictions of %s could not be logged: %s", rows, model, error)


class LabelLog:
    """True labels by prediction id; the later line of an id counts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._segments: dict[str, Segments] = {}

    def write(self, model: str, labels: Mapping[str, str | float]) -> None:
        """Keep these labels before returning. Raises OSError when they cannot be kept."""
        moment = clock.text(clock.now())
        lines = b"".join(
            orjson.dumps({"id": key, "time": moment, "label": label}) + b"\n"
            for key, label in labels.items()
        )
        with self._lock:
            folder = self._store.observations(model) / "labels"
            self._segments.setdefault(model, Segments(folder)).append(moment, lines)


def _lines(one: Answered) -> bytes:
    inputs = {name: _texts(values) for name, values in one.arrays.items()}
    outputs = {name: _texts(values) for name, values in one.outputs.items()}
    return b"".join(
        orjson.dumps(
            {
                "id": f"{one.id}-{row}",
                "time": one.time,
                "version": one.version,
                "inputs": {name: values[row] for name, values in inputs.items()},
                "outputs": {name: values[row] for name, values in outputs.items()},
                "latency_ms": round(one.latency_ms, 3),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for row in range(one.rows)
    )


def _texts(values: Array) -> list[Any]:
    if values.dtype.kind != "O":
        plain: list[Any] = values.tolist()
        return plain
    return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values.tolist()]
