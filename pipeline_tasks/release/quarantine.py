"""Models that may not be promoted again by themselves: what the history says of their weights.

An incident, or a person's rollback to an earlier version, puts the model it took away into
quarantine; a person lifts it, by approving the model at the gate or by rolling back to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError, QuarantineError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.store import Store, read_manifest
from pipeline_tasks.core.values import HistoryEntry, Ref
from pipeline_tasks.run import Run

INCIDENT, ROLLBACK, LIFTED = "incident", "rollback", "quarantine lifted"


def mark(store: Store, model: Ref) -> str:
    """What names a model here: the digest of its weights, the same however often it is trained."""
    try:
        files = read_manifest(store.open(model)).files
    except ArtifactError:  # it was cleared away: all that is known is its own digest
        return model.digest
    return mark_of(model, files)


def mark_of(model: Ref, files: Mapping[str, str]) -> str:
    """The same, of a model whose files, with their digests, are known."""
    weights = {name: digest for name, digest in files.items() if name.endswith(".npz")}
    return digest_of_text(json.dumps(weights, sort_keys=True)) if weights else model.digest


def found(store: Store, pipeline: str, model: Ref) -> HistoryEntry | None:
    """The entry that put this model into quarantine, unless a person has lifted it since."""
    subject = mark(store, model)
    for entry in reversed(store.history(pipeline)):
        if entry.subject == subject and entry.event in (INCIDENT, ROLLBACK, LIFTED):
            return None if entry.event == LIFTED else entry
    return None


def text(entry: HistoryEntry) -> str:
    """When and why, for a person.

    >>> text(HistoryEntry(at="2026-01-02T03:04:05.000Z", event="incident", run="r", by="ana",
    ...                   version=3, reasons=("slow",)))
    'in quarantine since 2026-01-02T03:04:05.000Z (incident of version 3, by ana): slow'
    """
    version = entry.version if entry.event == INCIDENT else entry.previous_version
    reasons = ", ".join(entry.reasons)
    told = f"{entry.event} of version {version}, by {entry.by}"
    return f"in quarantine since {entry.at} ({told}): {reasons}"


def refuse(run: Run, model: Ref) -> None:
    """Raises QuarantineError when the model may not be promoted."""
    entry = found(run.store, run.config.name, model)
    if entry is not None:
        raise QuarantineError(
            f"this model is {text(entry)}",
            expected="a model that is not in quarantine",
            fix=f"train another one, approve this one at the gate of {run.config.name}__train, "
            f"or choose its version in the form of {run.config.name}__rollback",
        )


def lift(run: Run, model: Ref, reason: str) -> None:
    """Let the model be promoted again, because a person says so; nothing if it already may."""
    entry = found(run.store, run.config.name, model)
    if entry is None:
        return
    lifted = HistoryEntry(
        at=clock.text(clock.now()),
        event=LIFTED,
        run=run.id,
        by=run.by,
        reasons=(reason,),
        subject=entry.subject,
        version=entry.version if entry.event == INCIDENT else entry.previous_version,
    )
    run.store.record(run.config.name, lifted)
