"""A target's versions: one step in, one step out, and never overwritten.

In a folder that step is a rename; in a bucket it is the manifest, see uploading.py.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from pipeline_tasks.core.bucket import Bucket, Place
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Manifest, read_manifest, verify_folder
from pipeline_tasks.release import uploading

WITHDRAWN = "withdrawn"


def publish(exported: Path, target: Place) -> int:
    """Copy an exported model beside the target's versions, check it, and make it the next one.

    Returns its version, as `next_version` says. What is there is never overwritten: were the number
    taken meanwhile, the last step would fail.
    """
    version = next_version(exported, target)
    if isinstance(target, Bucket):
        uploading.put(exported, target, version)
    elif not (target / str(version)).is_dir():
        _move_in(exported, target, version)
    return version


def _move_in(exported: Path, target: Path, version: int) -> None:
    scratch = target / f".incoming-{uuid.uuid4().hex}"
    try:
        shutil.copytree(exported, scratch)
        _sync(scratch)
        verify_folder(scratch)
        scratch.rename(target / str(version))
        _sync_one(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def next_version(exported: Path, target: Place) -> int:
    """The version under which a model is published: one more than any the target has ever had.

    When the highest one already is this very model (a retry after a kill), that one.
    Raises ArtifactError when the exported folder is not whole.
    """
    newest = max(versions(target), default=0)
    digest = verify_folder(exported).digest
    known = _manifest(target, newest) if newest else None
    if known and known.digest == digest:
        return newest
    return max([newest, *versions(target / WITHDRAWN)]) + 1


def withdraw(target: Place, version: int) -> None:
    """Take a version out of the server's sight, keeping its files."""
    if isinstance(target, Bucket):
        uploading.withdraw(target, version, WITHDRAWN)
        return
    (target / WITHDRAWN).mkdir(exist_ok=True)
    (target / str(version)).rename(target / WITHDRAWN / str(version))
    _sync_one(target)


def restore(target: Place, version: int) -> None:
    """Put a withdrawn version back. Raises ArtifactError when it is not there or not whole."""
    if version not in versions(target / WITHDRAWN):
        raise ArtifactError(
            f"version {version} is not in {target}",
            expected=f"one of {sorted(versions(target) + versions(target / WITHDRAWN))}",
            fix="choose one of these versions",
        )
    if isinstance(target, Bucket):
        uploading.restore(target, version, WITHDRAWN)
        return
    folder = target / WITHDRAWN / str(version)
    verify_folder(folder)
    folder.rename(target / str(version))


def versions(folder: Place) -> list[int]:
    """The versions in a folder, as whole numbers; other names are not versions."""
    if isinstance(folder, Bucket):
        return uploading.versions(folder)
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def _manifest(target: Place, version: int) -> Manifest | None:
    if isinstance(target, Bucket):
        return uploading.read(target, version)
    return read_manifest(target / str(version))


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    """A file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
