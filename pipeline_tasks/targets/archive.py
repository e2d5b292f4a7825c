"""Versions kept in a folder and served by nobody."""

from __future__ import annotations

from pathlib import Path

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.run import Run

UNWATCHED = "nobody asks an archive"


class Params(Frozen):
    """Nothing to set: the folder is `archive/` in the pipeline's part of the store.

    target: {kind: archive}
    """


def folder(params: Params, run: Run) -> Path:
    """Where the version folders are."""
    return run.store.root / run.config.name / "archive"


def check_ready(params: Params, run: Run) -> None:
    """A folder is always ready."""


def serve(params: Params, run: Run, wanted: Desired) -> None:
    """The highest version in the folder is the champion; nobody has to be told."""


def rehearse(params: Params, run: Run, version: int, exported: Path) -> None:
    """Nobody can be asked."""


def confirm(params: Params, run: Run, version: int, exported: Path) -> None:
    """A folder that is there is deployed."""


def counters(params: Params, run: Run) -> dict[str, str]:
    """Nothing is counted."""
    return {}
