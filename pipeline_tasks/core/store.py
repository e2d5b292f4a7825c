"""The artifact store: an artifact is there, whole, or not at all.

<root>/<pipeline>/runs/<run>/<artifact>/...   immutable; manifest.json is written last
<root>/<pipeline>/fingerprints/<digest>.json  which artifact a step may use again
<root>/<pipeline>/champion.json               the only thing that moves, replaced atomically
<root>/<pipeline>/versions/<number>.json      what each version was when it became the champion
<root>/<pipeline>/history.jsonl               every promotion, refusal, decision and rollback
<root>/<pipeline>/monitoring.jsonl            every look at production
<root>/<pipeline>/observations/               the prediction log and the labels that arrived
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, ValidationError

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.fingerprint import digest_of_file, library_versions
from pipeline_tasks.core.values import Champion, Frozen, HistoryEntry, MonitoringRecord, Ref, Scalar

MANIFEST = "manifest.json"
RETRAINING = "retraining"


class Manifest(Frozen):
    """What an artifact is made of and came from."""

    digest: str
    files: dict[str, str]
    inputs: dict[str, Ref]
    settings: JsonValue
    fingerprint: str
    libraries: dict[str, str]
    summary: dict[str, Scalar]
    made_at: str
    seconds: float


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
    """Artifacts of all pipelines under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

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
        """Write one artifact: a scratch folder beside the target, the manifest last, one rename.

        A second write of the same artifact by the same run replaces the first. When the block
        raises, nothing is left behind.
        """
        target = self._folder(pipeline, run, artifact)
        scratch = target.with_name(f".{artifact}.{uuid.uuid4().hex}")
        scratch.mkdir(parents=True)
        began = clock.now()
        draft = Draft(scratch)
        try:
            yield draft
            files = _digests(scratch)
            manifest = Manifest(
                digest=_digest_of_all(files),
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
            _move(scratch, target)
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
            write_text(self._fingerprint(pipeline, fingerprint), draft.ref.model_dump_json())

    def open(self, ref: Ref) -> Path:
        """The artifact's folder, every file checked against its digest.

        Raises ArtifactError when it is missing, half-written or altered.
        """
        folder = self._folder(ref.pipeline, ref.run, ref.artifact)
        manifest = read_manifest(folder)
        _verify(folder, manifest.files)
        if manifest.digest != ref.digest:
            raise ArtifactError(
                f"{folder} holds another artifact than {ref.artifact} of run {ref.run}",
                expected=f"digest {ref.digest}, found {manifest.digest}",
                fix=f"rerun the step that makes {ref.artifact}",
            )
        return folder

    def find(self, pipeline: str, fingerprint: str) -> Ref | None:
        """An earlier artifact with the same fingerprint that is still whole, if there is one."""
        path = self._fingerprint(pipeline, fingerprint)
        try:
            ref = Ref.model_validate_json(path.read_text())
            self.open(ref)
        except (FileNotFoundError, ValidationError, ArtifactError):
            return None
        return ref.model_copy(update={"reused": True})

    def champion(self, pipeline: str) -> Champion | None:
        """The model in production, or None before the first promotion."""
        path = self.root / pipeline / "champion.json"
        return Champion.model_validate_json(path.read_text()) if path.is_file() else None

    def set_champion(self, pipeline: str, champion: Champion) -> None:
        """Move the champion pointer in one atomic step, and keep the record of its version."""
        write_text(self._version(pipeline, champion.version), champion.model_dump_json(indent=1))
        write_text(self.root / pipeline / "champion.json", champion.model_dump_json(indent=1))

    def version(self, pipeline: str, version: int) -> Champion | None:
        """The record of a version that is or was the champion."""
        path = self._version(pipeline, version)
        return Champion.model_validate_json(path.read_text()) if path.is_file() else None

    def record(self, pipeline: str, entry: HistoryEntry) -> None:
        """Append one line to the pipeline's history."""
        append_line(self.root / pipeline / "history.jsonl", entry.model_dump_json())

    def history(self, pipeline: str) -> list[HistoryEntry]:
        """Every promotion, refusal, decision and rollback, oldest first."""
        path = self.root / pipeline / "history.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [HistoryEntry.model_validate_json(line) for line in lines]

    def record_monitoring(self, pipeline: str, record: MonitoringRecord) -> None:
        """Append one look at production; a retried run's second record is the one that counts."""
        append_line(self.root / pipeline / "monitoring.jsonl", record.model_dump_json())

    def monitoring(self, pipeline: str) -> list[MonitoringRecord]:
        """Every look at production, oldest first, one for each id."""
        path = self.root / pipeline / "monitoring.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        records = map(MonitoringRecord.model_validate_json, lines)
        return list({record.id: record for record in records}.values())

    def undecided(self, pipeline: str) -> MonitoringRecord | None:
        """The newest look at production, if it was a degraded one and nobody has decided on it."""
        records = self.monitoring(pipeline)
        if not records or not records[-1].verdict.is_yes:
            return None
        decided = {entry.subject for entry in self.history(pipeline) if entry.event == RETRAINING}
        return None if records[-1].id in decided else records[-1]

    def observations(self, pipeline: str) -> Path:
        """The folder of the prediction log and its labels."""
        return self.root / safe_name(pipeline) / "observations"

    @contextmanager
    def lock(self, pipeline: str) -> Iterator[None]:
        """Hold the pipeline's deployment lock: one change of what is served at a time."""
        path = self.root / pipeline / ".lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def scratch(self, pipeline: str, run: str, name: str) -> Path:
        """A folder of the run that survives a retry, such as checkpoints; never an artifact."""
        folder = self.root / safe_name(pipeline) / "scratch" / safe_name(run) / safe_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _folder(self, pipeline: str, run: str, artifact: str) -> Path:
        runs = self.root / safe_name(pipeline) / "runs"
        return runs / safe_name(run) / safe_name(artifact)

    def _version(self, pipeline: str, version: int) -> Path:
        return self.root / safe_name(pipeline) / "versions" / f"{version}.json"

    def _fingerprint(self, pipeline: str, fingerprint: str) -> Path:
        return self.root / safe_name(pipeline) / "fingerprints" / f"{fingerprint}.json"


def safe_name(name: str) -> str:
    """A folder name for any run id: no separators, no leading dot, at most 200 characters.

    >>> safe_name("manual__2026-01-02T03:04:05+00:00")
    'manual__2026-01-02T03_04_05_00_00'
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:200] or "_"


def write_text(path: Path, text: str) -> None:
    """Replace a file's content in one atomic, durable step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with scratch.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def append_line(path: Path, line: str) -> None:
    """Append one line, whole, to a file that others may append to as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line + "\n")


def read_manifest(folder: Path) -> Manifest:
    """An artifact's manifest. Raises ArtifactError when there is none, or it is not one."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text())
    except FileNotFoundError:
        problem = "is missing or half-written: it has no manifest.json"
    except (ValidationError, UnicodeDecodeError):
        problem = "has a manifest.json that cannot be read"
    raise ArtifactError(f"{folder} {problem}", fix=f"rerun the step that makes {folder.name}")


def verify_folder(folder: Path) -> Manifest:
    """The manifest of a folder in which every file is present and unaltered."""
    manifest = read_manifest(folder)
    _verify(folder, manifest.files)
    return manifest


def read_json(path: Path) -> JsonValue:
    """The content of a JSON file."""
    value: JsonValue = json.loads(path.read_text())
    return value


def _digests(folder: Path) -> dict[str, str]:
    paths: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_of_file(path) for path in paths}


def _digest_of_all(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _verify(folder: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        path = folder / name
        found = digest_of_file(path) if path.is_file() else "no file"
        if found != digest:
            raise ArtifactError(
                f"{path} is not what its manifest says",
                expected=f"digest {digest}, found {found}",
                fix=f"rerun the step that makes {folder.name}",
            )


def _move(scratch: Path, target: Path) -> None:
    if target.exists():
        old = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        target.replace(old)
        shutil.rmtree(old)
    scratch.replace(target)
