"""Canary: the candidate answers a share of the requests, until it is known how it does."""

from __future__ import annotations

from functools import partial

from pipeline_tasks.core.values import Ref, Verdict
from pipeline_tasks.release import trials, watching
from pipeline_tasks.run import Run, step


@step(reads=("deployment",), reusable=False)
def canary(run: Run, published: Ref, percent: float) -> Ref:
    """Let the candidate answer `percent` of the requests, always those of the same keys, and watch.

    Yes: enough was seen, and nothing is wrong. No: more errors, slower or more often wrong than
    the champion beyond chance. Writes the artifact `canary_<percent>`: watched.json.
    """
    verdict = watching.wait(partial(look, run, published, percent))
    name = f"canary_{percent:g}"
    return watching.written(run, name, f"{name}-of-{published.summary['version']}", verdict)


def look(run: Run, published: Ref, percent: float) -> Verdict | None:
    """One look; None when it is too early to say."""
    return trials.look(
        run,
        published,
        step=f"canary_{percent:g}",
        mode="canary",
        percent=percent,
        watches=len(run.config.deployment.steps),
    )
