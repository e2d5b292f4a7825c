"""Where the store keeps things, the other of two: objects under a URI, s3://bucket/prefix say.

<uri>/<pipeline>/runs/<run>/<artifact>/manifest.json     written last: names the digest that counts
<uri>/<pipeline>/runs/<run>/<artifact>/<digest>/...      its files; those it replaced go afterwards
<uri>/<pipeline>/champion/<number>.json                  the highest number counts: see set_champion
<uri>/<pipeline>/history/..., monitoring/...             see journal.py
<uri>/<pipeline>/locks/<number>.json                     see lease.py
<uri>/<pipeline>/fingerprints, versions, observations    as in a folder

Where nothing can be renamed, whatever is whole becomes so by one object that is written last.
Wants of the other side that a listing shows what has been written, and that an object can be
written on the condition that there is none, as S3 does and what speaks its protocol.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline_tasks.core.artifact import (
    MANIFEST,
    Manifest,
    check_files,
    check_is,
    digest_of_all,
    parse_manifest,
)
from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.journal import Journal
from pipeline_tasks.core.lease import Lease
from pipeline_tasks.core.values import Ref

LEASE_SECONDS = 30.0
CACHED_SECONDS = 7 * 24 * 3600


class Remote:
    """See `folder.Folder` for what each verb promises.

    cache: a folder of this machine. An artifact is fetched into it once, and goes when it has not
    been opened for a week.
    """

    def __init__(self, uri: str, cache: Path, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._bucket, self._cache, self._lease_seconds = Bucket(uri), cache, lease_seconds
        self._journals: dict[str, Journal] = {}
        self._held: dict[str, Lease] = {}

    def read(self, key: str) -> str | None:
        """An object's text, or None when there is no such object."""
        return self._bucket.read(key)

    def read_all(self, keys: Iterable[str]) -> dict[str, str]:
        """The text of these objects, at once; without those that are not there."""
        return self._bucket.read_all(keys)

    def write(self, key: str, text: str) -> None:
        """Replace an object in one atomic step."""
        self._bucket.write(key, text)

    def append(self, key: str, line: str) -> None:
        """Append a line to what others may append to as well."""
        self._journal(key).append(line)

    def lines(self, key: str) -> list[str]:
        """What was appended, oldest first."""
        return self._journal(key).lines()

    @contextmanager
    def lock(self, pipeline: str) -> Iterator[None]:
        """Hold the pipeline's lock; when the process dies, it is free after the lease."""
        with Lease(self._bucket, f"{pipeline}/locks", self._lease_seconds) as lease:
            self._held[pipeline] = lease
            try:
                yield
            finally:
                del self._held[pipeline]

    def check_lock(self, pipeline: str) -> None:
        """Raises TransientError when a lock held here is, or may be by now, somebody else's."""
        if pipeline in self._held:
            self._held[pipeline].check()

    def champion(self, pipeline: str) -> str | None:
        """The champion pointer's text."""
        names = list(self._bucket.sizes(f"{pipeline}/champion"))
        return self.read(f"{pipeline}/champion/{names[-1]}") if names else None

    def set_champion(self, pipeline: str, text: str) -> None:
        """Move the champion pointer in one atomic step.

        It is written under the number of the lock, which only grows. So one who is late, and only
        believes to hold the lock, cannot undo what a later holder has done, whenever it wakes up.
        """
        if pipeline not in self._held:
            with self.lock(pipeline):
                return self.set_champion(pipeline, text)
        lease = self._held[pipeline]
        lease.check()
        return self.write(f"{pipeline}/champion/{lease.number:012}.json", text)

    def draft(self, place: str) -> Path:
        """An empty folder to write an artifact into: on this machine."""
        return self._scratch()

    def keep(self, draft: Path, place: str) -> None:
        """Send the files, then the manifest; until then, what was there before counts."""
        text = (draft / MANIFEST).read_text()
        manifest = Manifest.model_validate_json(text)
        before = self.read(f"{place}/{MANIFEST}")
        folder = self.files(place, manifest.digest)
        self._bucket.upload({f"{folder}/{name}": draft / name for name in manifest.files})
        self.write(f"{place}/{MANIFEST}", text)
        self._settle(draft, text)
        if before is not None:
            old = parse_manifest(before, place, place).digest
            if old != manifest.digest:
                folder = self.files(place, old)
                self._bucket.delete(f"{folder}/{name}" for name in self._names(place, old))

    def open(self, place: str, ref: Ref) -> Path:
        """The artifact's folder in the cache, checked. Raises ArtifactError as a folder does."""
        where = f"{self._bucket.uri}/{place}"
        text = self.read(f"{place}/{MANIFEST}")
        manifest = parse_manifest(text, where, ref.artifact)
        check_is(manifest, ref, where)
        names = self._names(place, manifest.digest)
        missing = sorted(set(manifest.files) - names)
        if missing or digest_of_all(manifest.files) != manifest.digest:
            raise _not_whole(where, missing[0] if missing else MANIFEST, ref)
        folder = self._cached(text or "")
        if not _is_whole(folder, manifest):
            shutil.rmtree(folder, ignore_errors=True)
            self._fetch_artifact(place, manifest, text or "", ref)
        os.utime(folder)
        return folder

    def files(self, place: str, digest: str) -> str:
        """Below which key an artifact's files are."""
        return f"{place}/{digest}"

    def place(self, key: str) -> Bucket:
        """Where a run writes by itself: the objects below this key."""
        return self._bucket / key

    def publish(self, folder: Path, key: str) -> int:
        """Send files that are new or have grown."""
        there, count = self._bucket.sizes(key), 0
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            if path.stat().st_size > there.get(name, -1):
                # In one piece: a file that grows meanwhile would have another size than announced.
                self._bucket.write(f"{key}/{name}", path.read_bytes())
                count += 1
        return count

    def fetch(self, key: str, folder: Path) -> int:
        """Get files that are new or have grown."""
        sizes = self._bucket.sizes(key).items()
        wanted = [name for name, size in sizes if size > _size(folder / name)]
        scratch = self._scratch()
        try:
            self._bucket.download({f"{key}/{name}": scratch / name for name in wanted})
            for name in wanted:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (scratch / name).replace(folder / name)
        finally:
            shutil.rmtree(scratch)
        return len(wanted)

    def _journal(self, key: str) -> Journal:
        return self._journals.setdefault(key, Journal(self._bucket, key))

    def _names(self, place: str, digest: str) -> set[str]:
        return set(self._bucket.sizes(self.files(place, digest)))

    def _fetch_artifact(self, place: str, manifest: Manifest, text: str, ref: Ref) -> None:
        scratch = self._scratch()
        folder = self.files(place, manifest.digest)
        sources = {f"{folder}/{name}": scratch / name for name in manifest.files}
        try:
            self._bucket.download(sources)
            (scratch / MANIFEST).write_text(text)
            check_files(scratch, manifest)
            self._settle(scratch, text)
        except (FileNotFoundError, ArtifactError) as error:
            raise _not_whole(f"{self._bucket.uri}/{place}", str(error), ref) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _cached(self, text: str) -> Path:
        return self._cache / digest_of_text(text)

    def _scratch(self) -> Path:
        scratch = self._cache / f".{uuid.uuid4().hex}"
        scratch.mkdir(parents=True)
        return scratch

    def _settle(self, scratch: Path, text: str) -> None:
        """Make a whole artifact part of the cache, and forget what nobody opens any more."""
        # Where another process has put the same one meanwhile, that one stays: it may be in use.
        with suppress(OSError):
            scratch.rename(self._cached(text))
        for path in self._cache.iterdir():
            if time.time() - path.stat().st_mtime > CACHED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    try:
        check_files(folder, manifest)
    except ArtifactError:
        return False
    return (folder / MANIFEST).is_file()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _not_whole(where: str, what: str, ref: Ref) -> ArtifactError:
    return ArtifactError(
        f"{where} is not what its manifest says: {what}",
        expected=f"the files of digest {ref.digest}",
        fix=f"rerun the step that makes {ref.artifact}",
    )
