"""A server whose store is elsewhere brings its observations there, away from the requests."""

from __future__ import annotations

import logging
import threading

from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.core.store import Store
from pipeline_tasks.serving.versions.watched import Versions

log = logging.getLogger(__name__)

SHARE_SECONDS = 30.0


class Sharing:
    """Publishes what has been logged twice a minute, and once more at the end."""

    def __init__(self, store: Store, versions: Versions) -> None:
        self._store, self._versions = store, versions
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sharing", daemon=True)

    def start(self) -> None:
        """Publish from now on; of a store in a folder there is nothing to publish."""
        if self._store.is_elsewhere:
            self._thread.start()

    def close(self) -> None:
        """Publish what the logs, closed by now, hold."""
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join()
            self._publish()

    def _work(self) -> None:
        while not self._stop.wait(SHARE_SECONDS):
            self._publish()

    def _publish(self) -> None:
        for model in self._versions.tables():
            try:
                self._store.publish_observations(model)
            except PipelineError as error:  # it stays here, and the next time may do
                log.error("observations of %s are not in the store yet: %s", model, error)
