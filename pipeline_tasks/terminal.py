"""Progress for a person: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class _Bar(logging.Handler):
    """Moves a bar for log records that carry `done` and `of`."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task = progress.add_task("", total=None, visible=False)

    def emit(self, record: logging.LogRecord) -> None:
        done, of = getattr(record, "done", None), getattr(record, "of", None)
        if done is not None:
            self._progress.update(
                self._task,
                completed=done,
                total=of,
                description=record.getMessage(),
                visible=done != of,
            )


@contextmanager
def shown() -> Iterator[Console]:
    """Show the log of `pipeline_tasks` while the block runs; the console prints above the bar."""
    log = logging.getLogger("pipeline_tasks")
    log.setLevel(logging.INFO)
    console = Console(stderr=False)
    if not sys.stdout.isatty():
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
        yield console
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        lines = RichHandler(console=console, show_path=False, show_level=False, highlighter=None)
        lines.setFormatter(logging.Formatter("%(message)s", datefmt="%X"))
        lines.addFilter(lambda record: not hasattr(record, "done"))
        log.handlers, log.propagate = [lines, _Bar(progress)], False
        yield console
