"""Greedy batches: whatever is waiting is answered together, and nothing waits for more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline_tasks.serving.codec import Array, concatenate
from pipeline_tasks.serving.failures import Failure, of
from pipeline_tasks.serving.signatures import Signature

MAXIMUM_BATCH_ROWS = 256
MAXIMUM_WAITING_ROWS = 8192


@dataclass(frozen=True)
class _Waiting:
    signature: Signature
    arrays: Mapping[str, Array]
    rows: int
    answer: asyncio.Future[dict[str, Array]]
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """One thread that calls models; a request holds its model, so a swap never breaks it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._is_closed = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    async def ask(
        self,
        signature: Signature,
        arrays: Mapping[str, Array],
        rows: int,
        deadline: float | None = None,
    ) -> dict[str, Array]:
        """The outputs for these rows, before the deadline on time.monotonic's clock.

        Raises a Failure with status 503 when too many wait, and 504 when it is late.
        """
        answer: asyncio.Future[dict[str, Array]] = self._loop.create_future()
        with self._wake:
            if self._rows + rows > max(MAXIMUM_WAITING_ROWS, rows):
                message = f"{self._rows} rows are waiting already; try again soon"
                raise Failure(503, message, retry_after_seconds=1)
            self._rows += rows
            self._waiting.append(_Waiting(signature, arrays, rows, answer))
            self._wake.notify()
        late = deadline and self._loop.call_later(deadline - time.monotonic(), _late, answer)
        try:
            return await answer
        finally:
            if late:
                late.cancel()

    def close(self) -> None:
        """Answer what is waiting and end the thread."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _answer(self, batch: list[_Waiting]) -> None:
        signature = batch[0].signature
        try:
            outputs = signature.call(concatenate([one.arrays for one in batch]))
        except Exception as error:  # the model's own failure is the client's answer
            if len(batch) > 1:  # and nobody else's
                for one in batch:
                    self._answer([one])
            else:
                self._tell(_fail, batch[0], of(error))
        else:
            self._tell(_deliver, batch, outputs)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _next(self) -> list[_Waiting]:
        """The first waiting request and those behind it that fit into the same batch."""
        with self._wake:
            while not self._waiting and not self._is_closed:
                self._wake.wait()
            batch: list[_Waiting] = []
            rows = 0
            while self._waiting and (not batch or _fits(batch[0], self._waiting[0], rows)):
                one = self._waiting.popleft()
                batch.append(one)
                rows += one.rows
            self._rows -= rows
        now = time.perf_counter()
        for one in batch:
            one.signature.waited.add((now - one.since) * 1e6)
        return batch


def _fits(first: _Waiting, other: _Waiting, rows: int) -> bool:
    return (
        other.signature is first.signature
        and rows + other.rows <= MAXIMUM_BATCH_ROWS
        and all(a.shape[1:] == other.arrays[name].shape[1:] for name, a in first.arrays.items())
    )


def _deliver(batch: list[_Waiting], outputs: dict[str, Array]) -> None:
    start = 0
    for one in batch:
        part = {name: values[start : start + one.rows] for name, values in outputs.items()}
        start += one.rows
        if not one.answer.done():
            one.answer.set_result(part)


def _late(answer: asyncio.Future[dict[str, Array]]) -> None:
    if not answer.done():
        answer.set_exception(Failure(504, "no answer before the request's deadline"))


def _fail(one: _Waiting, failure: Failure) -> None:
    if not one.answer.done():
        one.answer.set_exception(failure)
