"""A target's version folders: one rename in, one rename out, and never overwritten."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import read_manifest, verify_folder

WITHDRAWN = "withdrawn"


def publish(exported: Path, target: Path) -> int:
    """Copy an exported model beside the target's versions, check it, and rename it to the next one.

    Returns its version, as `next_version` says. What is there is never overwritten: were the number
    taken meanwhile, the rename would fail.
    """
    version = next_version(exported, target)
    if (target / str(version)).is_dir():
        return version
    scratch = target / f".incoming-{uuid.uuid4().hex}"
    try:
        shutil.copytree(exported, scratch)
        _sync(scratch)
        verify_folder(scratch)
        scratch.rename(target / str(version))
        _sync_one(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return version


def next_version(exported: Path, target: Path) -> int:
    """The version under which a model is published: one more than any the target has ever had.

    When the highest one already is this very model (a retry after a kill), that one.
    Raises ArtifactError when the exported folder is not whole.
    """
    newest = max(versions(target), default=0)
    digest = verify_folder(exported).digest
    if newest and read_manifest(target / str(newest)).digest == digest:
        return newest
    return max([newest, *versions(target / WITHDRAWN)]) + 1


def withdraw(target: Path, version: int) -> None:
    """Take a version out of the server's sight, keeping its files."""
    (target / WITHDRAWN).mkdir(exist_ok=True)
    (target / str(version)).rename(target / WITHDRAWN / str(version))
    _sync_one(target)


def restore(target: Path, version: int) -> None:
    """Put a withdrawn version back. Raises ArtifactError when it is not there or not whole."""
    folder = target / WITHDRAWN / str(version)
    if not folder.is_dir():
        raise ArtifactError(
            f"version {version} is not in {target}",
            expected=f"one of {sorted(versions(target) + versions(target / WITHDRAWN))}",
            fix="choose one of these versions",
        )
    verify_folder(folder)
    folder.rename(target / str(version))


def versions(folder: Path) -> list[int]:
    """The versions in a folder, as whole numbers; other names are not versions."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    """A file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
