"""Where the store keeps things, one of two: a folder that this machine sees."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_tasks.core.artifact import check_files, check_is, read_manifest
from pipeline_tasks.core.values import Ref


class Folder:
    """Renames for what must be whole, and the kernel's locks for what several write."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> str | None:
        """A small file's text, or None when there is no such file."""
        path = self._root / key
        return path.read_text() if path.is_file() else None

    def read_all(self, keys: Iterable[str]) -> dict[str, str]:
        """The text of these small files, at once; without those that are not there."""
        found = {key: self.read(key) for key in keys}
        return {key: text for key, text in found.items() if text is not None}

    def write(self, key: str, text: str) -> None:
        """Replace a small file in one atomic step."""
        write_text(self._root / key, text)

    def append(self, key: str, line: str) -> None:
        """Append a line, whole, to what others may append to as well."""
        append_line(self._root / f"{key}.jsonl", line)

    def lines(self, key: str) -> list[str]:
        """What was appended, oldest first."""
        text = self.read(f"{key}.jsonl")
        return text.splitlines() if text else []

    @contextmanager
    def lock(self, pipeline: str) -> Iterator[None]:
        """Hold the pipeline's lock; it is let go when the process ends, however it ends."""
        path = self._root / pipeline / ".lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def check_lock(self, pipeline: str) -> None:
        """Nothing: the kernel takes it from no process that lives."""

    def champion(self, pipeline: str) -> str | None:
        """The champion pointer's text."""
        return self.read(f"{pipeline}/champion.json")

    def set_champion(self, pipeline: str, text: str) -> None:
        """Move the champion pointer in one atomic step."""
        self.write(f"{pipeline}/champion.json", text)

    def draft(self, place: str) -> Path:
        """An empty folder to write an artifact into: beside the place that it will have."""
        target = self._root / place
        scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        scratch.mkdir(parents=True)
        return scratch

    def keep(self, draft: Path, place: str) -> None:
        """Put a finished artifact in its place: one rename."""
        target = self._root / place
        if target.exists():
            old = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
            target.replace(old)
            shutil.rmtree(old)
        draft.replace(target)

    def open(self, place: str, ref: Ref) -> Path:
        """The artifact's folder, checked. Raises ArtifactError when it is not whole, or another."""
        folder = self._root / place
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        check_is(manifest, ref, folder)
        return folder

    def files(self, place: str, digest: str) -> str:
        """Below which key an artifact's files are."""
        return place

    def place(self, key: str) -> Path:
        """The folder, or part of a bucket, where a run writes by itself."""
        folder = self._root / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, folder: Path, key: str) -> int:
        """Nothing: what is in this folder is seen by everybody already."""
        return 0

    def fetch(self, key: str, folder: Path) -> int:
        """Nothing, for the same reason."""
        return 0


def write_text(path: Path, text: str) -> None:
    """Replace a file's content in one atomic, durable step."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same for what is no text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def append_line(path: Path, line: str) -> None:
    """Append one line, whole, to a file that others may append to as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line + "\n")
