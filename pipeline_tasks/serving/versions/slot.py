"""One version that answers, and the requests that hold it: it is let go after the last of them."""

from __future__ import annotations

import asyncio
import threading

from pipeline_tasks.serving.batching import Batcher
from pipeline_tasks.serving.versions.model import Model


class Slot:
    """A loaded model with a thread of its own, so that no version waits for another's work."""

    def __init__(self, model: Model) -> None:
        self.version = model.version
        self.model: Model | None = model
        self._batcher: Batcher | None = None
        self._holders = 0
        self._lock = threading.Lock()

    def hold(self) -> Model | None:
        """The model, which stays until `release`; None when it is let go already."""
        with self._lock:
            if self.model is not None:
                self._holders += 1
            return self.model

    def release(self) -> None:
        """The request that held the model has its answer."""
        with self._lock:
            self._holders -= 1

    def batcher(self) -> Batcher:
        """The thread that calls this version; used on the event loop while the slot is held."""
        if self._batcher is None:
            self._batcher = Batcher(asyncio.get_running_loop())
        return self._batcher

    def let_go(self) -> bool:
        """Give no more requests the model; False while one holds it. To be closed afterwards."""
        with self._lock:
            if self._holders:
                return False
            self.model = None
        return True

    def close(self) -> None:
        """Answer what is waiting, and end the thread."""
        if self._batcher:
            self._batcher.close()
        self._batcher = None
