"""Bake: the new champion is watched for a while, and rolled back if it does harm."""

from __future__ import annotations

from functools import partial

from pipeline_tasks.core.values import Answer, Ref, Verdict
from pipeline_tasks.decisions import release
from pipeline_tasks.release import watching
from pipeline_tasks.release.releasing import Target
from pipeline_tasks.release.watching import Subject
from pipeline_tasks.run import Run, step


@step(reads=("deployment",), reusable=False)
def bake(run: Run, deployment: Ref) -> Ref:
    """Watch errors, latency and answers that are no numbers, for `bake_minutes`.

    Yes: time is over, and no fault was proven. No: one was. Writes the artifact `baked`:
    watched.json.
    """
    verdict = watching.wait(partial(look, run, deployment))
    return watching.written(run, "baked", _name(deployment), verdict)


def look(run: Run, deployment: Ref) -> Verdict | None:
    """One look; None when it is too early to say."""
    version = int(str(deployment.summary["version"]))
    champion = run.store.champion(run.config.name)
    if champion is None or champion.version != version:
        gone = f"version {version} is no longer the champion: somebody has rolled back"
        verdict = Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(gone,))
        return watching.end(run, _name(deployment), verdict)
    target, name = Target(run), _name(deployment)
    if target.unwatched:
        verdict = Verdict(answer=Answer.YES, reasons=(f"not watched: {target.unwatched}",))
        return watching.end(run, name, verdict)
    before = deployment.summary["previous_version"]
    subject = Subject(
        name=name,
        candidate=version,
        champion=int(str(before)) if before is not None else None,
        minutes=run.config.deployment.bake_minutes,
        is_alone=True,
    )
    return watching.look(run, subject, target.counters(), partial(_judge, run))


def _judge(run: Run, seen: release.Seen, is_over: bool) -> Verdict | None:
    return release.bake(run.config.deployment, seen, is_over=is_over)


def _name(deployment: Ref) -> str:
    return f"bake-of-{deployment.summary['version']}"
