"""True labels by prediction id, as clients report them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pipeline_tasks.core.store import Store
from pipeline_tasks.serving.failures import Failure, bad_request
from pipeline_tasks.serving.parsing import parse
from pipeline_tasks.serving.prediction_log import LabelLog

PREDICTION_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Labels:
    """Takes `{"labels": [{"id": ..., "label": ...}, ...]}` and keeps it, whole or not at all."""

    def __init__(self, store: Store) -> None:
        self._log = LabelLog(store)

    async def accept(self, model: str, body: bytes) -> dict[str, int]:
        """Keep the labels of one request; returns how many. Raises a Failure."""
        labels = _labels_of(parse(body))
        try:
            await asyncio.to_thread(self._log.write, model, labels)
        except OSError as error:
            message = f"the labels could not be kept: {error.strerror}"
            raise Failure(503, message, retry_after_seconds=10) from error
        return {"accepted": len(labels)}

    def close(self) -> None:
        """Nothing is open between two requests."""


def _labels_of(document: Any) -> dict[str, str | int]:
    entries = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise bad_request('expected {"labels": [{"id": "<prediction id>", "label": ...}, ...]}')
    labels: dict[str, str | int] = {}
    for number, entry in enumerate(entries):
        found = entry if isinstance(entry, dict) else {}
        identity, label = found.get("id"), found.get("label")
        if not isinstance(identity, str) or not PREDICTION_ID.fullmatch(identity):
            raise bad_request(
                f"labels[{number}]: id must be a prediction id, found {identity!r:.80}"
            )
        if not isinstance(label, str | int) or isinstance(label, bool):
            raise bad_request(
                f"labels[{number}]: label must be text or a whole number: {label!r:.80}"
            )
        labels[identity] = label
    return labels
