"""Writes to the log: the notifier that always works."""

from __future__ import annotations

import logging

from pipeline_tasks.core.values import Frozen

log = logging.getLogger(__name__)


class Params(Frozen):
    """Nothing to set.

    notifiers: [{kind: log}]
    """


def notify(params: Params, *, title: str, text: str) -> None:
    """Say it in the log, as a warning."""
    log.warning("%s\n%s", title, text)
