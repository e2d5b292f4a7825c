"""Greedy batches: whatever is waiting is answered together, and nothing waits for more.

A batch is formed on the event loop, from the requests of one round of it. A quick one is answered
there and then; one that would hold up the loop goes to a thread, and while that is busy the next
batch grows. The first request of a round does not wait for others if the model is very fast.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from weakref import WeakKeyDictionary

from pipeline_tasks.serving.rest.codec import Array, concatenate
from pipeline_tasks.serving.rest.failures import Failure, of
from pipeline_tasks.serving.versions.signatures import Signature

# A call that costs less than it would save to share one is made at once; one that holds up the loop
# for less than it takes to hand it to a thread and back is made on the loop.
INSTANT_SECONDS, QUICK_SECONDS = 0.00002, 0.0005
WATCH_SECONDS = 0.05
CLOSE_SECONDS = 10


@dataclass(frozen=True)
class Batching:
    """How requests share calls of a model, by TensorFlow Serving's names.

    max_batch_size: rows of one call, unless a single request has more; max_enqueued_batches: full
    batches that may wait; num_batch_threads: calls that run at the same time.
    """

    max_batch_size: int = 256
    max_enqueued_batches: int = 64
    num_batch_threads: int = 1


@dataclass(eq=False, slots=True)
class _Waiting:
    signature: Signature
    arrays: Mapping[str, Array]
    rows: int
    answer: asyncio.Future[dict[str, Array]]
    deadline: float | None
    since: float

    def fail(self, failure: Failure) -> None:
        if not self.answer.done():
            self.answer.set_exception(failure)

    def is_over(self, now: float) -> bool:
        """It needs no answer any more; one that is late is told so."""
        if self.deadline is not None and now > self.deadline:
            self.fail(Failure(504, "no answer before the request's deadline"))
        return self.answer.done()


_Batch = Sequence[_Waiting]


class Batcher:
    """Answers requests of one event loop; a request holds its signature, so no swap breaks it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, batching: Batching | None = None) -> None:
        self._loop = loop
        self._limits = batching or Batching()
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._is_due = self._is_watching = self._is_closed = False
        self._running: dict[int, _Batch] = {}
        self._seconds: WeakKeyDictionary[Signature, dict[int, float]] = WeakKeyDictionary()
        self._work: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def ask(
        self,
        signature: Signature,
        arrays: Mapping[str, Array],
        rows: int,
        deadline: float | None = None,
    ) -> asyncio.Future[dict[str, Array]]:
        """The outputs for these rows, to be awaited on the event loop.

        deadline: on time.monotonic's clock; a later answer is a Failure with status 504. Raises a
        Failure with status 503 when too many rows wait.
        """
        limit = self._limits.max_batch_size * self._limits.max_enqueued_batches
        if self._is_closed or self._rows + rows > max(limit, rows):
            message = f"{self._rows} rows are waiting already; try again soon"
            raise Failure(503, message, retry_after_seconds=1)
        answer: asyncio.Future[dict[str, Array]] = self._loop.create_future()
        one = _Waiting(signature, arrays, rows, answer, deadline, time.monotonic())
        if not self._is_due and not self._running and self._expected([one]) < INSTANT_SECONDS:
            self._answer([one], *_called([one]))
            self._flush_soon()
        else:
            self._waiting.append(one)
            self._rows += rows
            self._flush_if_free()
        return answer

    def close(self) -> None:
        """Answer nothing more, and end the threads; from any thread."""
        self._is_closed = True
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(timeout=CLOSE_SECONDS)

    def _flush_if_free(self) -> None:
        if self._waiting and len(self._running) < self._limits.num_batch_threads:
            self._flush_soon()

    def _flush_soon(self) -> None:
        """After what else this round of the loop has to do: other requests may join the batch."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        if batch := self._next():
            if self._expected(batch) < QUICK_SECONDS:
                self._answer(batch, *_called(batch))
            else:
                self._hand_over(batch)
        self._flush_if_free()

    def _next(self) -> list[_Waiting]:
        """The first waiting request and those behind it that fit into the same batch."""
        batch: list[_Waiting] = []
        rows = 0
        now = time.monotonic()
        limit = self._limits.max_batch_size
        while self._waiting:
            one = self._waiting[0]
            if batch and not (rows + one.rows <= limit and _fits(batch[0], one)):
                break
            self._waiting.popleft()
            self._rows -= one.rows
            if not one.is_over(now):
                one.signature.waited.add((now - one.since) * 1e6)
                batch.append(one)
                rows += one.rows
        return batch

    def _hand_over(self, batch: _Batch) -> None:
        self._running[id(batch)] = batch
        if len(self._threads) < min(len(self._running), self._limits.num_batch_threads):
            thread = threading.Thread(target=self._call_what_comes, name="inference", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(batch)
        self._watch_soon()

    def _call_what_comes(self) -> None:
        while batch := self._work.get():
            result = _called(batch)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._take_back, batch, *result)

    def _take_back(
        self, batch: _Batch, outputs: dict[str, Array] | Exception, seconds: float
    ) -> None:
        del self._running[id(batch)]
        self._answer(batch, outputs, seconds)
        self._flush_if_free()

    def _answer(self, batch: _Batch, outputs: dict[str, Array] | Exception, seconds: float) -> None:
        if not isinstance(outputs, Exception):
            self._learn(batch, seconds)
            _deliver(batch, outputs)
        elif len(batch) == 1:  # the model's own failure is the client's answer
            batch[0].fail(of(outputs))
        else:  # one of them may be to blame, and the others must not pay for it
            for one in batch:
                self._hand_over([one])

    def _expected(self, batch: _Batch) -> float:
        """The seconds a call takes; whatever was never tried may take for ever."""
        known = self._seconds.get(batch[0].signature)
        return known.get(_size(batch), inf) if known else inf

    def _learn(self, batch: _Batch, seconds: float) -> None:
        """How long a batch of about this size takes.

        A busy machine makes calls seem slow: a quicker one counts at once, a slower by an eighth.
        """
        known = self._seconds.setdefault(batch[0].signature, {})
        size = _size(batch)
        before = known.get(size, seconds)
        known[size] = min(seconds, before + (seconds - before) / 8)

    def _watch_soon(self) -> None:
        if self._running and not self._is_watching:
            self._is_watching = True
            self._loop.call_later(WATCH_SECONDS, self._watch)

    def _watch(self) -> None:
        """While a call runs, those it makes wait are told when their time is over."""
        self._is_watching = False
        now = time.monotonic()
        for batch in [*self._running.values(), self._waiting]:
            for one in batch:
                one.is_over(now)
        self._watch_soon()


def _fits(first: _Waiting, other: _Waiting) -> bool:
    return other.signature is first.signature and all(
        values.shape[1:] == other.arrays[name].shape[1:] for name, values in first.arrays.items()
    )


def _size(batch: _Batch) -> int:
    """The power of two that its rows are below."""
    return sum(one.rows for one in batch).bit_length()


def _called(batch: _Batch) -> tuple[dict[str, Array] | Exception, float]:
    """The outputs, or what the model raised; and the seconds."""
    began = time.perf_counter()
    try:
        first = batch[0].arrays
        arrays = first if len(batch) == 1 else concatenate([one.arrays for one in batch])
        return batch[0].signature.call(arrays), time.perf_counter() - began
    except Exception as error:
        return error, 0.0


def _deliver(batch: _Batch, outputs: dict[str, Array]) -> None:
    start = 0
    for one in batch:
        end = start + one.rows
        if not one.answer.done():
            one.answer.set_result({name: values[start:end] for name, values in outputs.items()})
        start = end
