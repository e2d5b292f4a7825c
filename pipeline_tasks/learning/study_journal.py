"""A study's journal in a bucket: numbered objects, each of which is written once."""

from __future__ import annotations

import json
from typing import Any

from pipeline_tasks.core.bucket import Bucket


class BucketBackend:
    """What trials on many machines tell the study, in an order that all of them see.

    Whoever writes takes the lowest number that is free; of two at once, one takes the next. The
    verbs are those of Optuna's `BaseJournalBackend`.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._objects = 0
        self._logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The logs from this one on, counted from 0."""
        self._read()
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Keep these logs, together, before returning."""
        content = json.dumps(logs)
        while not self._bucket.create(_key(self._objects), content):
            self._read()
        self._logs += json.loads(content)
        self._objects += 1

    def _read(self) -> None:
        """Know every object; they are numbered without a gap, and never change."""
        count = len(self._bucket.sizes(""))
        new = [_key(number) for number in range(self._objects, count)]
        found = self._bucket.read_all(new)
        for key in new:
            self._logs += json.loads(found[key])
        self._objects = max(count, self._objects)


def _key(number: int) -> str:
    return f"{number:08}.json"
