"""Shadow: the candidate answers in the background, where no client sees it."""

from __future__ import annotations

from functools import partial

from pipeline_tasks.core.values import Ref, Verdict
from pipeline_tasks.release import trials, watching
from pipeline_tasks.run import Run, step


@step(reads=("deployment",), reusable=False)
def shadow(run: Run, published: Ref) -> Ref:
    """Let the candidate answer what the champion answers, compare, and say whether it goes on.

    Clients get the champion's answers. Yes: enough was seen, and nothing is wrong. No: it fails, is
    slow, differs more than the file allows, or is wrong where the champion is right, beyond chance.
    Writes the artifact `shadow`: watched.json.
    """
    verdict = watching.wait(partial(look, run, published))
    return watching.written(run, "shadow", f"shadow-of-{published.summary['version']}", verdict)


def look(run: Run, published: Ref) -> Verdict | None:
    """One look; None when it is too early to say."""
    return trials.look(run, published, step="shadow", mode="shadow", percent=100, watches=1)
