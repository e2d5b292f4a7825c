"""Withdraw: a candidate that must not answer is taken away, and the last good version answers."""

from __future__ import annotations

import json
import logging
from typing import Any

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref
from pipeline_tasks.monitoring import notifying
from pipeline_tasks.release import publishing, quarantine, releasing
from pipeline_tasks.release.releasing import Target
from pipeline_tasks.run import Run, step

log = logging.getLogger(__name__)


@step(reads=("target",), reusable=False)
def withdraw(run: Run, published: Ref, model: Ref, watched: Ref | None = None) -> Ref:
    """Take the run's candidate away: from its trial, or, baked and found harmful, from production.

    watched: what the last watch of the run left; None when there was none. Where it says no, the
    model is put into quarantine, the incident is kept in the history, and the notifiers tell of it.
    Without a no, a champion stays. Writes the artifact `incident`: incident.json, with the figures.
    Raises DeploymentError or TransientError, both of which are retried.
    """
    version = int(str(published.summary["version"]))
    is_fault = watched is not None and watched.summary["answer"] == "no"
    reasons = _reasons(watched)
    with releasing.target_of(run) as target:
        before = run.store.champion(run.config.name)
        is_champion = before is not None and before.version == version
        is_there = is_champion or version in publishing.versions(target.folder)
        if is_fault:
            _record(run, quarantine.INCIDENT, reasons, version, model)
        elif is_there and not is_champion:
            _record(run, "refusal", reasons, version, None)
        seconds = None
        if is_champion and is_fault:
            seconds = _roll_back(run, target, version, reasons)
        elif not is_champion:
            seconds = _end_trial(run, target, before)
    if is_fault:
        notifying.tell(run, f"version {version} of {run.config.name} was taken away", reasons)
    after = run.store.champion(run.config.name)
    with run.write("incident") as draft:
        figures: Any = read_json(run.open(watched) / "watched.json") if watched else None
        content = {
            "withdrawn": version if is_fault or not is_champion else None,
            "version": after.version if after else None,
            "reasons": "; ".join(reasons),
            "seconds_to_effect": seconds,
        }
        text = json.dumps(content | {"is_fault": is_fault, "seen": figures}, indent=1)
        (draft.folder / "incident.json").write_text(text)
        draft.summary |= content
    return draft.done()


def _reasons(watched: Ref | None) -> tuple[str, ...]:
    if watched is None or watched.summary["answer"] == "yes":
        return ("the release came to no end: look at the task that failed",)
    return tuple(str(watched.summary["reasons"]).split("; "))


def _end_trial(run: Run, target: Target, champion: Champion | None) -> float:
    """Seconds until the champion answered everything."""
    began = clock.now()
    releasing.settle(run, target)
    if champion:
        target.confirm(champion.version, run.open(champion.exported))
    seconds = round((clock.now() - began).total_seconds(), 3)
    log.info("the champion answers everything, %.1f s after it was asked to", seconds)
    return seconds


def _roll_back(run: Run, target: Target, version: int, reasons: tuple[str, ...]) -> float | None:
    """Seconds until the last good version answered; None when there is no such version."""
    after = releasing.earlier(run, version)
    if after is None:
        log.error("version %s goes on answering: there is no earlier good version", version)
        return None
    seconds = releasing.switch(run, target, after)
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event=quarantine.ROLLBACK,
        run=run.id,
        by="perennial",
        reasons=reasons,
        version=after.version,
        previous_version=version,
        seconds=seconds,
    )
    run.store.record(run.config.name, entry)
    return seconds


def _record(
    run: Run, event: str, reasons: tuple[str, ...], version: int, model: Ref | None
) -> None:
    """Add the entry, once however often the step is retried."""
    known = run.store.history(run.config.name)
    if any((one.run, one.event, one.version) == (run.id, event, version) for one in known):
        return
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event=event,
        run=run.id,
        by=run.by,
        reasons=reasons,
        subject=quarantine.mark(run.store, model) if model else "",
        version=version,
    )
    run.store.record(run.config.name, entry)
