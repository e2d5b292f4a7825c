"""Lines that many machines append to, in objects: nobody waits, and nobody's line is lost."""

from __future__ import annotations

import uuid

from pipeline_tasks.core import clock
from pipeline_tasks.core.bucket import Bucket

MOST_OBJECTS = 64


class Journal:
    """One object for each entry; when there are many, one of them all takes their place.

    A line is `<key> <text>`, and its key says when it was written. So it does no harm that an
    entry is in two objects, as it is when a process is killed while it merges them.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        # Objects are never written again: what was read once is known.
        self._known: dict[str, str] = {}

    def append(self, text: str) -> None:
        """Keep one line before returning."""
        key = f"{clock.now():%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex}"
        self._bucket.write(f"{self._prefix}/{key}.jsonl", f"{key} {text}\n")
        self._merge()

    def lines(self) -> list[str]:
        """Every line, oldest first."""
        self._read()
        pairs = (line.partition(" ") for text in self._known.values() for line in text.splitlines())
        texts = {key: text for key, _, text in pairs}
        return [texts[key] for key in sorted(texts)]

    def _read(self) -> None:
        """Know every object; again, if somebody has merged some of them meanwhile."""
        while True:
            keys = [f"{self._prefix}/{name}" for name in self._bucket.sizes(self._prefix)]
            self._known = {key: self._known[key] for key in keys if key in self._known}
            self._known |= self._bucket.read_all(key for key in keys if key not in self._known)
            if len(self._known) == len(keys):
                return

    def _merge(self) -> None:
        if len(self._bucket.sizes(self._prefix)) <= MOST_OBJECTS:
            return
        self._read()
        merged = list(self._known)
        content = "".join(self._known[key] for key in merged)
        self._bucket.write(f"{self._prefix}/merged-{uuid.uuid4().hex}.jsonl", content)
        self._bucket.delete(merged)
