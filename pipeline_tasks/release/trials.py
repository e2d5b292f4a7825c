"""A candidate on trial beside the champion: its share and its lease, renewed at every look."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Answer, Ref, Verdict
from pipeline_tasks.decisions import release
from pipeline_tasks.release import desired, quarantine, releasing, watching
from pipeline_tasks.release.desired import Trial
from pipeline_tasks.release.releasing import Target
from pipeline_tasks.release.watching import Subject
from pipeline_tasks.run import Run

LEASE_SECONDS = 60


def look(
    run: Run, published: Ref, *, step: str, mode: str, percent: float, watches: int
) -> Verdict | None:
    """Give the candidate its share, or keep it, and look at what both versions did with theirs.

    The lease ends by itself when nobody looks for a minute: servers go back to the champion.
    A trial that somebody else has ended is over: not enough data.
    """
    version = int(str(published.summary["version"]))
    name = f"{step}-of-{version}"
    champion = run.store.champion(run.config.name)
    if champion is None:
        first = f"version {version} is the first: there is no champion to compare it with"
        return watching.end(run, name, Verdict(answer=Answer.YES, reasons=(first,)))
    trial = Trial.model_validate(
        {"version": version, "mode": mode, "percent": percent, "until": _lease()}
    )
    subject = Subject(
        name=name,
        candidate=version,
        champion=champion.version,
        minutes=run.config.deployment.step_minutes,
        is_shadow=mode == "shadow",
    )
    with releasing.target_of(run) as target:
        is_mine = _hold(run, target, trial, is_first=watching.begun(run, name) is None)
    if not is_mine:
        return watching.end(run, name, _ended(run, version))
    texts = Target(run).counters()
    judge = partial(_judge, run, watches)
    return watching.look(run, subject, texts, judge)


def _judge(run: Run, watches: int, seen: release.Seen, is_over: bool) -> Verdict | None:
    return release.trial(run.config.deployment, seen, watches=watches, is_over=is_over)


def _hold(run: Run, target: Target, trial: Trial, *, is_first: bool) -> bool:
    """Renew the lease, unless somebody has ended the trial."""
    champion = run.store.champion(run.config.name)
    current = desired.read(target.folder)
    is_beside = champion is not None and trial.version in current.specific
    if not is_beside or champion is None or champion.version != current.default:
        return False
    is_running = current.trial is not None and current.trial.version == trial.version
    if not is_running and not is_first:
        return False
    target.serve(desired.beside(champion.version, trial.version, trial))
    return True


def _lease() -> str:
    return clock.text(clock.now() + timedelta(seconds=LEASE_SECONDS))


def _ended(run: Run, version: int) -> Verdict:
    """Somebody has ended the trial: a rollback, whose reason counts, or another run."""
    for entry in reversed(run.store.history(run.config.name)):
        if entry.event == quarantine.ROLLBACK and entry.previous_version == version:
            why = f"rolled back by {entry.by}: {', '.join(entry.reasons)}"
            return Verdict(answer=Answer.NO, reasons=(why,))
    other = f"the trial of version {version} was ended by something else than this run"
    return Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(other,))
