"""Telling people: every notifier the pipeline file names."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_tasks.core import registry
from pipeline_tasks.run import Run


def tell(run: Run, title: str, reasons: Sequence[str]) -> None:
    """Say it by every notifier of the pipeline."""
    text = "\n".join(f"- {reason}" for reason in reasons)
    for notifier in run.config.notifiers:
        part = registry.part("notifiers", notifier.kind)
        params = registry.params("notifiers", notifier.kind, notifier.settings())
        part.notify(params, title=title, text=text)
