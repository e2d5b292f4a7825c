"""What an artifact is: a folder with a manifest of every file in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue, ValidationError

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.fingerprint import digest_of_file
from pipeline_tasks.core.values import Frozen, Ref, Scalar

MANIFEST = "manifest.json"


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


def digests(folder: Path) -> dict[str, str]:
    """The digest of every file in a folder, by its path there."""
    paths: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_of_file(path) for path in paths}


def digest_of_all(files: Mapping[str, str]) -> str:
    """The artifact's digest: that of its files' digests."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def parse_manifest(text: str | None, where: object, name: str) -> Manifest:
    """A manifest from its text. Raises ArtifactError when there is none, or it is not one."""
    problem = "is missing or half-written: it has no manifest.json"
    if text is not None:
        try:
            return Manifest.model_validate_json(text)
        except ValidationError:
            problem = "has a manifest.json that cannot be read"
    raise ArtifactError(f"{where} {problem}", fix=f"rerun the step that makes {name}")


def read_manifest(folder: Path) -> Manifest:
    """An artifact's manifest. Raises ArtifactError when there is none, or it is not one."""
    path = folder / MANIFEST
    text = path.read_text(errors="replace") if path.is_file() else None
    return parse_manifest(text, folder, folder.name)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises ArtifactError unless every file is present and unaltered."""
    for name, digest in manifest.files.items():
        path = folder / name
        found = digest_of_file(path) if path.is_file() else "no file"
        if found != digest:
            raise ArtifactError(
                f"{path} is not what its manifest says",
                expected=f"digest {digest}, found {found}",
                fix=f"rerun the step that makes {folder.name}",
            )


def check_is(manifest: Manifest, ref: Ref, where: object) -> None:
    """Raises ArtifactError unless the manifest is that of the artifact that `ref` names."""
    if manifest.digest != ref.digest:
        raise ArtifactError(
            f"{where} holds another artifact than {ref.artifact} of run {ref.run}",
            expected=f"digest {ref.digest}, found {manifest.digest}",
            fix=f"rerun the step that makes {ref.artifact}",
        )


def verify_folder(folder: Path) -> Manifest:
    """The manifest of a folder in which every file is present and unaltered."""
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return manifest
