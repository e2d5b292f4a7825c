"""Roll back: an earlier version answers again, within seconds."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pipeline_tasks import publishing
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.errors import ArtifactError, ConfigError
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref, Scalar
from pipeline_tasks.run import Run, step

log = logging.getLogger(__name__)


@step(reads=("target",), reusable=False)
def rollback(run: Run, version: int | None, reason: str) -> Ref:
    """Serve an earlier version again: the one named, or the champion before this one.

    Newer versions are withdrawn from the server's sight (their files stay) and the champion
    pointer moves back. Writes the artifact `rollback`: rollback.json.
    Raises ConfigError without a reason, ArtifactError when there is no such version.
    """
    if not reason.strip():
        raise ConfigError("a rollback needs a reason", fix="say why: it is kept in the history")
    target = run.config.target
    part = registry.part("targets", target.kind)
    params = registry.params("targets", target.kind, target.settings())
    with run.store.lock(run.config.name):
        before, after = _versions(run, version)
        folder: Path = part.folder(params, run)
        part.check_ready(params, run)
        _show_only_up_to(folder, after.version)
        part.confirm(params, run, after.version, run.open(after.exported))
        run.store.set_champion(run.config.name, after)
        _record(run, before, after, reason)
    with run.write("rollback") as draft:
        content: dict[str, Scalar] = {
            "version": after.version,
            "previous_version": before.version,
            "reason": reason,
        }
        (draft.folder / "rollback.json").write_text(json.dumps(content))
        draft.summary |= content
    return draft.done()


def _versions(run: Run, version: int | None) -> tuple[Champion, Champion]:
    name = run.config.name
    before = run.store.champion(name)
    if before is None:
        raise ArtifactError(f"{name} has no champion yet", fix=f"run {name}__train first")
    wanted = version if version is not None else _previous(run, before.version)
    after = run.store.version(name, wanted) if wanted is not None else None
    if after is None or after.version == before.version:
        known = sorted({entry.version for entry in run.store.history(name) if entry.version})
        raise ArtifactError(
            f"cannot roll {name} back from version {before.version} to version {wanted}",
            expected=f"another version that was champion once, among {known}",
            fix="choose one of these versions in the trigger form",
        )
    return before, after


def _previous(run: Run, current: int) -> int | None:
    for entry in reversed(run.store.history(run.config.name)):
        if entry.event == "promotion" and entry.version == current:
            return entry.previous_version
    return None


def _show_only_up_to(folder: Path, version: int) -> None:
    if version not in publishing.versions(folder):
        publishing.restore(folder, version)
    for newer in publishing.versions(folder):
        if newer > version:
            publishing.withdraw(folder, newer)
            log.info("withdrew version %s", newer)


def _record(run: Run, before: Champion, after: Champion, reason: str) -> None:
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event="rollback",
        run=run.id,
        by=run.by,
        reasons=(reason,),
        version=after.version,
        previous_version=before.version,
    )
    run.store.record(run.config.name, entry)
