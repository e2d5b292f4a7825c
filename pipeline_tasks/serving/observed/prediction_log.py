"""Every answered row, kept off the hot path: a bounded queue, one thread, lines in files.

What is added is with the kernel a quarter of a second later, so that SIGKILL costs no more than
that, and on the disk a second later, so that a power cut costs no more than that.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pipeline_tasks import observations
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Store
from pipeline_tasks.observations.segments import Writer
from pipeline_tasks.sections import logged
from pipeline_tasks.sections.logged import Logged
from pipeline_tasks.serving.rest.codec import Array

log = logging.getLogger(__name__)

MAXIMUM_WAITING_BYTES = 64 * 2**20
OVERHEAD_BYTES = 2048  # what Python's objects of a request take beside its values
FLUSH_SECONDS = 0.25
WRITE_BYTES = 2**20
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
RULES_SECONDS = 1.0
UNKNOWN = Logged(share=0)
DAY_SECONDS = 86_400
RANDOM_BYTES, IDS_AT_ONCE = 9, 256


class Answered(NamedTuple):
    """One answered request.

    at: when, in seconds since 1970. route: the label or trial by which its version was found.
    is_shadow: no client got this answer.
    """

    model: str
    version: int
    id: str
    at: float
    rows: int
    arrays: Mapping[str, Array]
    outputs: Mapping[str, Array]
    latency_ms: float
    is_shadow: bool = False
    route: str = ""
    request_id: str = ""
    caller: str = ""


class _Waiting(NamedTuple):
    answered: Answered
    rules: Logged
    sequence: int
    bytes: int


def new_id() -> str:
    """A prediction id: a UUID of version 7 (RFC 9562), which tells the day to look for it on."""
    random = next(_RANDOM)
    return f"{time.time_ns() // 1_000_000:012x}7{random[:3]}8{random[3:]}"


def _random_digits() -> Iterator[str]:
    """Hexadecimal digits for one id after the other; asking for many at a time costs least."""
    while True:
        digits = os.urandom(RANDOM_BYTES * IDS_AT_ONCE).hex()
        for start in range(0, len(digits), 2 * RANDOM_BYTES):
            yield digits[start : start + 2 * RANDOM_BYTES]


_RANDOM = _random_digits()


class PredictionLog:
    """Takes answered requests without ever waiting; what does not fit is counted, not kept.

    models: the folder of version folders, where `logged.json` says what is kept of each model.
    """

    def __init__(self, store: Store, models: Path | None = None) -> None:
        self._store = store
        self._models = models
        self._server = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._sequence = count(1)
        self._rules: dict[str, Logged] = {}
        self._writers: dict[tuple[str, int, bool], Writer] = {}
        self.dropped = 0
        self.written = 0
        self.sampled_out = 0
        self._drops = _Drops()
        self._is_closed = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction log", daemon=True)
        self._thread.start()

    def add(self, answered: Answered) -> None:
        """Keep one answered request; never blocks."""
        rules = self._rules.get(answered.model) or self._read_rules(answered.model)
        if rules is not UNKNOWN and not rules.has(answered.id):
            self.sampled_out += answered.rows
            return
        size = OVERHEAD_BYTES + _bytes(answered.arrays) + _bytes(answered.outputs)
        with self._lock:
            sequence = next(self._sequence)
            if rules is UNKNOWN or self._bytes + size > MAXIMUM_WAITING_BYTES:
                self.dropped += answered.rows
                return
            self._bytes += size
            self._waiting.append(_Waiting(answered, rules, sequence, size))
            is_filling = self._bytes > MAXIMUM_WAITING_BYTES // 4
        if is_filling:
            self._wake.set()

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        looked = time.monotonic()
        while not self._is_closed:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            try:
                self._flush()
                self._drops.look(self.dropped)
                if time.monotonic() - looked > RULES_SECONDS:
                    looked = time.monotonic()
                    self._look_again()
            except Exception:  # the thread must outlive whatever a disk can do
                log.exception("the prediction log failed; going on")
        self._flush()
        for writer in self._writers.values():
            writer.close()

    def _look_again(self) -> None:
        for model in list(self._rules):
            self._read_rules(model)
        for key, writer in list(self._writers.items()):
            if writer.close_if_old():
                del self._writers[key]

    def _read_rules(self, model: str) -> Logged:
        """What is kept of this model now; what was known before, while that cannot be read."""
        try:
            self._rules[model] = logged.read(self._models / model) if self._models else Logged()
        except (ArtifactError, OSError) as error:
            if model not in self._rules:
                self._drops.reason = str(error)
                self._rules[model] = UNKNOWN
        return self._rules[model]

    def _flush(self) -> None:
        """Write what is waiting now, in the order in which it came."""
        groups: dict[tuple[str, int, bool, int], list[_Waiting]] = defaultdict(list)
        for _ in range(len(self._waiting)):
            one = self._waiting.popleft()
            asked = one.answered
            day = int(asked.at // DAY_SECONDS)
            groups[asked.model, asked.version, asked.is_shadow, day].append(one)
        for (model, version, is_shadow, _), found in groups.items():
            writer = self._writer(model, version, is_shadow)
            for part in _parts(found):
                self._append(writer, part)

    def _writer(self, model: str, version: int, is_shadow: bool) -> Writer:
        """A segment has rows of one version only: it becomes one Parquet file as it is."""
        writer = self._writers.get((model, version, is_shadow))
        if writer is None:
            kind = observations.SHADOW if is_shadow else observations.PREDICTIONS
            writer = Writer(self._store.observations(model) / kind)
            self._writers[model, version, is_shadow] = writer
        return writer

    def _append(self, writer: Writer, part: list[_Waiting]) -> None:
        """Encode and write, and give the memory back."""
        rows = sum(one.answered.rows for one in part)
        try:
            lines = b"".join(line for one in part for line in _lines(one, self._server))
            writer.append(_time(part[0].answered.at), lines)
            self.written += rows
            self._drops.reason = ""
        except (OSError, orjson.JSONEncodeError) as error:
            self._drops.reason = str(error)
            with self._lock:
                self.dropped += rows
        with self._lock:
            self._bytes -= sum(one.bytes for one in part)


class _Drops:
    """Tells the beginning and the end of a burst of drops, once each; `reason` while it lasts."""

    def __init__(self) -> None:
        self.reason = ""
        self._before = self._burst = 0

    def look(self, dropped: int) -> None:
        new = dropped - self._before
        if new and not self._burst:
            reason = self.reason or f"more than {MAXIMUM_WAITING_BYTES >> 20} MiB are waiting"
            log.error("predictions are dropped from the log, %s rows so far: %s", new, reason)
        elif not new and self._burst and not self.reason:
            log.warning("predictions are logged again; %s rows were dropped", self._burst)
            self._burst = 0
        self._burst += new
        self._before = dropped


def _parts(found: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """Some MiB at a time, so that their text does not take much memory either."""
    size, part = 0, list[_Waiting]()
    for one in found:
        part.append(one)
        size += one.bytes
        if size > WRITE_BYTES:
            yield part
            size, part = 0, []
    if part:
        yield part


def _lines(one: _Waiting, server: str) -> Iterator[bytes]:
    answered, kept = one.answered, one.rules.columns
    told = {"route": answered.route, "request_id": answered.request_id, "caller": answered.caller}
    head = {
        "time": _time(answered.at),
        "model": answered.model,
        "version": answered.version,
        "latency_ms": round(answered.latency_ms, 3),
        "server": server,
        "sequence": one.sequence,
    } | {name: value for name, value in told.items() if value}
    if one.rules.share < 1:
        head["share"] = one.rules.share
    arrays = {
        name: values for name, values in answered.arrays.items() if kept is None or name in kept
    }
    for row in range(answered.rows):
        line = {
            "id": f"{answered.id}-{row}",
            **head,
            "inputs": {name: values[row] for name, values in arrays.items()},
            "outputs": {name: values[row] for name, values in answered.outputs.items()},
        }
        yield orjson.dumps(line, default=_plain, option=OPTIONS)


def _time(seconds: float) -> str:
    return _millisecond(int(seconds * 1000))


@lru_cache(maxsize=64)
def _millisecond(number: int) -> str:
    """A busy server answers several requests in one."""
    return clock.text(datetime.fromtimestamp(number / 1000, UTC))


def _plain(value: Any) -> Any:
    """What orjson does not know: text in bytes, and arrays of it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist()


def _bytes(arrays: Mapping[str, Array]) -> int:
    size = 0
    for values in arrays.values():
        size += values.nbytes
        if values.dtype.hasobject:
            size += sum(len(value) for value in values.flat if isinstance(value, bytes | str))
    return size
