"""A lock across machines: a lease on numbered objects, whose holder can be told from a late one.

<prefix>/<number>.json   who took the lock, how often it has said since that it lives, and whether
                         it has let go. The highest number holds the lock. Only the one who made
                         an object writes it again, and a number can be made once only.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Self

from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.errors import PipelineError, TransientError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class Lease:
    """Held within a `with` block, and renewed meanwhile by a thread.

    A holder that has said nothing for `seconds`, by the clock of the one who waits, is dead to it:
    no two machines' clocks are compared. number: it only grows; a later holder has a greater one.
    """

    def __init__(self, bucket: Bucket, prefix: str, seconds: float) -> None:
        self._bucket, self._prefix, self._seconds = bucket, prefix, seconds
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        self._beats = 0
        self._renewed = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lease", daemon=True)
        self.number = 0

    def __enter__(self) -> Self:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self._write(is_free=True)
        except PipelineError as problem:
            log.warning("the lock could not be let go; it ends by itself: %s", problem)

    def check(self) -> None:
        """Raises TransientError when the lock is, or may be by now, somebody else's."""
        is_late = time.monotonic() - self._renewed > self._seconds
        if is_late or self._highest()[0] != self.number:
            raise TransientError(
                f"the lock {self._prefix} was lost: this process was not heard of in time",
                expected=f"a sign of life every {self._seconds:g} s",
                fix="nothing: the next try takes the lock again",
            )

    def _acquire(self) -> None:
        seen, since = (0, ""), time.monotonic()
        while True:
            found = self._highest()
            if found != seen:
                seen, since = found, time.monotonic()
            is_dead = time.monotonic() - since > self._seconds
            if not found[0] or _is_free(found[1]) or is_dead:
                if self._take(found[0] + 1):
                    return
            else:
                time.sleep(min(POLL_SECONDS, self._seconds / 10))

    def _take(self, number: int) -> bool:
        began = time.monotonic()
        if not self._bucket.create(self._key(number), self._text(is_free=False)):
            return False
        self.number, self._renewed = number, began
        return True

    def _live(self) -> None:
        while not self._ended.wait(self._seconds / 4):
            began = time.monotonic()
            try:
                self._write(is_free=False)
            except PipelineError as error:
                log.warning("the lock could not be renewed: %s", error)
            else:
                self._renewed = began

    def _write(self, *, is_free: bool) -> None:
        self._beats += 1
        self._bucket.write(self._key(self.number), self._text(is_free=is_free))

    def _text(self, *, is_free: bool) -> str:
        return json.dumps({"owner": self._owner, "beats": self._beats, "free": is_free})

    def _highest(self) -> tuple[int, str]:
        """The newest number, and what its object says; 0 when nobody ever took the lock."""
        names = list(self._bucket.sizes(self._prefix))
        if not names:
            return 0, ""
        number = int(names[-1].removesuffix(".json"))
        return number, self._bucket.read(self._key(number)) or ""

    def _key(self, number: int) -> str:
        return f"{self._prefix}/{number:012}.json"


def _is_free(text: str) -> bool:
    try:
        return bool(json.loads(text)["free"])
    except (ValueError, KeyError, TypeError):
        return False
