"""The artifact store: an artifact is there, whole, or not at all.

<root>/<pipeline>/runs/<run>/<artifact>/...   immutable; manifest.json is written last
<root>/<pipeline>/fingerprints/<digest>.json  which artifact a step may use again
<root>/<pipeline>/champion.json               what is in production, replaced atomically
<root>/<pipeline>/latest/<artifact>.json      the artifact that the next of its kind goes on from
<root>/<pipeline>/versions/<number>.json      what each version was when it became the champion
<root>/<pipeline>/history.jsonl               every promotion, refusal, decision and rollback
<root>/<pipeline>/monitoring.jsonl            every look at production
<root>/<pipeline>/notices.jsonl               every message to a person
<root>/<pipeline>/observations/               the prediction log and the labels that arrived

The root is a folder, or a URI such as s3://bucket/prefix; see core/remote.py for how that differs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue, ValidationError

from pipeline_tasks.core import clock, keys
from pipeline_tasks.core.artifact import (
    MANIFEST,
    Manifest,
    digest_of_all,
    digests,
    read_manifest,
    verify_folder,
)
from pipeline_tasks.core.bucket import Place
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.fingerprint import library_versions
from pipeline_tasks.core.folder import Folder, append_line, write_text
from pipeline_tasks.core.keys import safe_name
from pipeline_tasks.core.values import (
    Champion,
    HistoryEntry,
    MonitoringRecord,
    Notice,
    Ref,
    Scalar,
)

__all__ = ["MANIFEST", "RETRAINING", "Draft", "Manifest", "Store", "append_line", "read_json"]
__all__ += ["read_manifest", "safe_name", "store_at", "verify_folder", "write_text"]

RETRAINING = "retraining"


class Kept(Protocol):
    """Where a store keeps things: `folder.Folder`, which says what each verb means, or `remote`."""

    def read(self, key: str) -> str | None: ...
    def read_all(self, keys: Iterable[str]) -> dict[str, str]: ...
    def write(self, key: str, text: str) -> None: ...
    def append(self, key: str, line: str) -> None: ...
    def lines(self, key: str) -> list[str]: ...
    def lock(self, pipeline: str) -> AbstractContextManager[None]: ...
    def check_lock(self, pipeline: str) -> None: ...
    def champion(self, pipeline: str) -> str | None: ...
    def set_champion(self, pipeline: str, text: str) -> None: ...
    def draft(self, place: str) -> Path: ...
    def keep(self, draft: Path, place: str) -> None: ...
    def open(self, place: str, ref: Ref) -> Path: ...
    def files(self, place: str, digest: str) -> str: ...
    def place(self, key: str) -> Place: ...
    def publish(self, folder: Path, key: str) -> int: ...
    def fetch(self, key: str, folder: Path) -> int: ...


@dataclass
class Draft:
    """An artifact being written: put files into `folder`, numbers worth a glance into `summary`."""

    folder: Path
    summary: dict[str, Scalar] = field(default_factory=dict)
    ref: Ref | None = None

    def done(self) -> Ref:
        """The finished artifact's reference; valid after the `with` block."""
        if self.ref is None:
            raise ArtifactError("the artifact was not finished", fix="leave the `with` block first")
        return self.ref


class Store:
    """Artifacts of all pipelines under one root.

    root: the folder that it all is in, or, for a store that is elsewhere (`kept`), the folder of
    what stays on this machine: observations not yet published, what was fetched.
    """

    def __init__(self, root: Path, kept: Kept | None = None) -> None:
        self.root = root
        self.is_elsewhere = kept is not None
        self._kept: Kept = kept or Folder(root)

    @property
    def kept(self) -> Kept:
        """Where it all is, for what reads lines and manifests as they are."""
        return self._kept

    @contextmanager
    def write(
        self,
        pipeline: str,
        run: str,
        artifact: str,
        *,
        inputs: Mapping[str, Ref],
        settings: JsonValue = None,
        fingerprint: str = "",
    ) -> Iterator[Draft]:
        """Write one artifact: first somewhere else, the manifest last, then into its place at once.

        A second write of the same artifact by the same run replaces the first. When the block
        raises, nothing is left behind.
        """
        place = keys.place(pipeline, run, artifact)
        scratch = self._kept.draft(place)
        began = clock.now()
        draft = Draft(scratch)
        try:
            yield draft
            files = digests(scratch)
            manifest = Manifest(
                digest=digest_of_all(files),
                files=files,
                inputs=dict(inputs),
                settings=settings,
                fingerprint=fingerprint,
                libraries=library_versions(),
                summary=draft.summary,
                made_at=clock.text(began),
                seconds=round((clock.now() - began).total_seconds(), 3),
            )
            write_text(scratch / MANIFEST, manifest.model_dump_json(indent=1))
            self._kept.keep(scratch, place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        draft.ref = Ref(
            pipeline=pipeline,
            run=run,
            artifact=artifact,
            digest=manifest.digest,
            summary=draft.summary,
        )
        if fingerprint:
            self._kept.write(keys.fingerprint(pipeline, fingerprint), draft.ref.model_dump_json())

    def open(self, ref: Ref) -> Path:
        """The artifact's folder on this machine, every file checked against its digest.

        Raises ArtifactError when it is missing, half-written or altered.
        """
        return self._kept.open(keys.place(ref.pipeline, ref.run, ref.artifact), ref)

    def find(self, pipeline: str, fingerprint: str) -> Ref | None:
        """An earlier artifact with the same fingerprint that is still whole, if there is one."""
        text = self._kept.read(keys.fingerprint(pipeline, fingerprint))
        if text is None:
            return None
        try:
            ref = Ref.model_validate_json(text)
            self.open(ref)
        except (ValidationError, ArtifactError):
            return None
        return ref.model_copy(update={"reused": True})

    def latest(self, pipeline: str, artifact: str) -> Ref | None:
        """The artifact that the next one of this name goes on from; it may be damaged or gone."""
        text = self._kept.read(keys.latest(pipeline, artifact))
        return Ref.model_validate_json(text) if text is not None else None

    def set_latest(self, ref: Ref) -> None:
        """Let the next artifact of this name go on from this one, which is whole."""
        self._kept.write(keys.latest(ref.pipeline, ref.artifact), ref.model_dump_json())

    def champion(self, pipeline: str) -> Champion | None:
        """The model in production, or None before the first promotion."""
        text = self._kept.champion(pipeline)
        return Champion.model_validate_json(text) if text is not None else None

    def set_champion(self, pipeline: str, champion: Champion) -> None:
        """Move the champion pointer in one atomic step, and keep the record of its version.

        Raises TransientError when the deployment lock, held until now, is somebody else's.
        """
        text = champion.model_dump_json(indent=1)
        self._kept.write(keys.version(pipeline, champion.version), text)
        self._kept.set_champion(pipeline, text)

    def version(self, pipeline: str, version: int) -> Champion | None:
        """The record of a version that is or was the champion."""
        text = self._kept.read(keys.version(pipeline, version))
        return Champion.model_validate_json(text) if text is not None else None

    def record(self, pipeline: str, entry: HistoryEntry) -> None:
        """Append one line to the pipeline's history."""
        self._kept.append(f"{pipeline}/history", entry.model_dump_json())

    def history(self, pipeline: str) -> list[HistoryEntry]:
        """Every promotion, refusal, decision and rollback, oldest first."""
        return [*map(HistoryEntry.model_validate_json, self._kept.lines(f"{pipeline}/history"))]

    def record_monitoring(self, pipeline: str, record: MonitoringRecord) -> None:
        """Append one look at production; a retried run's second record is the one that counts."""
        self._kept.append(f"{pipeline}/monitoring", record.model_dump_json())

    def monitoring(self, pipeline: str) -> list[MonitoringRecord]:
        """Every look at production, oldest first, one for each id."""
        lines = self._kept.lines(f"{pipeline}/monitoring")
        records = map(MonitoringRecord.model_validate_json, lines)
        return list({record.id: record for record in records}.values())

    def record_notice(self, pipeline: str, notice: Notice) -> None:
        """Append one message to a person."""
        self._kept.append(f"{pipeline}/notices", notice.model_dump_json())

    def notices(self, pipeline: str) -> list[Notice]:
        """Every message to a person, oldest first."""
        return [*map(Notice.model_validate_json, self._kept.lines(f"{pipeline}/notices"))]

    def undecided(self, pipeline: str) -> MonitoringRecord | None:
        """The newest look at production, if it was a degraded one and nobody has decided on it."""
        records = self.monitoring(pipeline)
        if not records or not records[-1].verdict.is_yes:
            return None
        decided = {entry.subject for entry in self.history(pipeline) if entry.event == RETRAINING}
        return None if records[-1].id in decided else records[-1]

    def observations(self, pipeline: str) -> Path:
        """The folder of the prediction log and its labels, on this machine."""
        return self.root / safe_name(pipeline) / "observations"

    def publish_observations(self, pipeline: str) -> int:
        """Let other machines have this one's observations; how many files were new or had grown.

        Files only grow, and their names are their writer's own. In a local store, nothing to do.
        """
        return self._kept.publish(self.observations(pipeline), f"{pipeline}/observations")

    def fetch_observations(self, pipeline: str) -> int:
        """Get what other machines have published; how many files were new or had grown."""
        return self._kept.fetch(f"{pipeline}/observations", self.observations(pipeline))

    def lock(self, pipeline: str) -> AbstractContextManager[None]:
        """Hold the pipeline's deployment lock: one change of what is served at a time."""
        return self._kept.lock(pipeline)

    def check_lock(self, pipeline: str) -> None:
        """Raises TransientError when the lock, held until now, is or may be somebody else's."""
        self._kept.check_lock(pipeline)

    def scratch(self, pipeline: str, run: str, name: str) -> Place:
        """Where a run keeps what a retry goes on with, on whatever machine; never an artifact."""
        return self._kept.place(keys.scratch(pipeline, run, name))

    def recall(self, pipeline: str, run: str, name: str) -> str | None:
        """What a run wrote down with `remember` under this name, in this try or an earlier one."""
        return self._kept.read(f"{keys.scratch(pipeline, run, name)}.json")

    def remember(self, pipeline: str, run: str, name: str, text: str) -> None:
        """Write down, in one atomic step, what a retry is to know."""
        self._kept.write(f"{keys.scratch(pipeline, run, name)}.json", text)


def store_at(uri: str, home: Path) -> Store:
    """The store in a folder, or under a URI; then what is local to this machine is in `home`."""
    folder = uri.removeprefix("file://")
    if "://" not in folder:
        return Store(Path(folder))
    from pipeline_tasks.core.remote import Remote

    root = home / "remote" / safe_name(uri)
    return Store(root, Remote(uri, root / ".cache"))


def read_json(path: Path) -> JsonValue:
    """The content of a JSON file."""
    value: JsonValue = json.loads(path.read_text())
    return value
