"""Roll back: an earlier version answers again, within seconds."""

from __future__ import annotations

import json
import logging

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError, ConfigError
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref, Scalar
from pipeline_tasks.monitoring import notifying
from pipeline_tasks.release import publishing, quarantine, releasing
from pipeline_tasks.release.releasing import Target
from pipeline_tasks.run import Run, step

log = logging.getLogger(__name__)


@step(reads=("target",), reusable=False)
def rollback(run: Run, version: int | None, reason: str) -> Ref:
    """Serve an earlier version again: the one named, or the last good champion before this one.

    While a candidate is on trial and no version is named, its trial ends and the champion stays.
    What is newer is withdrawn from the server's sight (its files stay), and the model left behind
    is in quarantine: no run promotes it again by itself. To name a version that is in quarantine
    lifts that. Writes the artifact `rollback`: rollback.json, with the seconds until it answered.
    Raises ConfigError without a reason, ArtifactError when there is no such version.
    """
    if not reason.strip():
        raise ConfigError("a rollback needs a reason", fix="say why: it is kept in the history")
    with releasing.target_of(run) as target:
        champion = run.store.champion(run.config.name)
        if champion is None:
            name = run.config.name
            raise ArtifactError(f"{name} has no champion yet", fix=f"run {name}__train first")
        target.check_ready()
        newest = max([champion.version, *publishing.versions(target.folder)])
        if newest > champion.version and version in (None, champion.version):
            seconds = _end_trial(run, target, champion, newest, reason)
            before, after = newest, champion.version
        else:
            seconds, after = _go_back(run, target, champion, version, reason)
            before = champion.version
    told = f"{run.by} has rolled {run.config.name} back from version {before} to version {after}"
    notifying.tell(run, told, (reason,))
    with run.write("rollback") as draft:
        content: dict[str, Scalar] = {
            "version": after,
            "previous_version": before,
            "reason": reason,
            "seconds_to_effect": seconds,
        }
        (draft.folder / "rollback.json").write_text(json.dumps(content))
        draft.summary |= content
    return draft.done()


def _end_trial(run: Run, target: Target, champion: Champion, newest: int, reason: str) -> float:
    """The run that conducts the trial notices, and puts its model into quarantine."""
    began = clock.now()
    # The entry comes first: whoever finds the trial ended finds out why.
    _record(run, champion.version, newest, reason)
    releasing.settle(run, target)
    target.confirm(champion.version, run.open(champion.exported))
    seconds = round((clock.now() - began).total_seconds(), 3)
    log.info("the trial of version %s is over, %.1f s after it was asked to be", newest, seconds)
    return seconds


def _go_back(
    run: Run, target: Target, champion: Champion, version: int | None, reason: str
) -> tuple[float, int]:
    after = _wanted(run, champion, version)
    seconds = releasing.switch(run, target, after)
    quarantine.lift(run, after.model, reason)
    left = champion.model if after.version < champion.version else None
    _record(run, after.version, champion.version, reason, left=left, seconds=seconds)
    return seconds, after.version


def _wanted(run: Run, champion: Champion, version: int | None) -> Champion:
    name = run.config.name
    if version == champion.version:
        raise ArtifactError(
            f"cannot roll {name} back to version {version}: it is the champion already",
            fix="choose another version in the trigger form",
        )
    if version is not None:
        return releasing.version_of(run, version)
    found = releasing.earlier(run, champion.version)
    if found is None:
        raise ArtifactError(
            f"cannot roll {name} back from version {champion.version}",
            expected="an earlier version that was champion and is not in quarantine",
            fix="choose a version in the trigger form",
        )
    return found


def _record(
    run: Run,
    after: int,
    before: int,
    reason: str,
    *,
    left: Ref | None = None,
    seconds: float | None = None,
) -> None:
    """Add the entry; with `left`, the model left behind is in quarantine from now on."""
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event=quarantine.ROLLBACK,
        run=run.id,
        by=run.by,
        reasons=(reason,),
        subject=quarantine.mark(run.store, left) if left else "",
        version=after,
        previous_version=before,
        seconds=seconds,
    )
    run.store.record(run.config.name, entry)
