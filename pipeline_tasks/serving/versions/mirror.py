"""A models folder in a bucket, as a folder of this machine: what is desired, never by halves.

<folder>/<model>/desired.json, logged.json     as in the bucket, replaced in one step
<folder>/<model>/<version>/...                 moved in by one rename, once every digest holds
<folder>/.mirrored                             there was a time when nothing was missing
"""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline_tasks.core.artifact import (
    MANIFEST,
    Manifest,
    check_files,
    digest_of_all,
    parse_manifest,
)
from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.errors import ArtifactError, PipelineError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.store import safe_name, write_text
from pipeline_tasks.release import desired, publishing
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.sections import logged
from pipeline_tasks.serving.versions.watched import MODEL_NAME

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
MAXIMUM_PAUSE_SECONDS = 30.0
FIRST_LOOK_SECONDS = 10.0  # for the bucket to answer, before what is here from before is served
SPARES = 1  # versions kept although they are no longer desired, so that going back is quick
SMALL = (desired.FILE, logged.FILE)
MIRRORED, SCRATCH = ".mirrored", ".incoming-"


@dataclass
class Listed:
    """One model in the bucket: tags of its small files and of its manifests, by version."""

    small: dict[str, str] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A version that could not be fetched as it is (`tag`), and when to try again."""

    tag: str
    times: int
    until: float


class Mirror:
    """Follows the bucket; of the processes that share the folder one does, for as long as it lives.

    A bucket that cannot be reached changes nothing. failures: how often that was so, or a version
    could not be fetched.
    """

    def __init__(self, bucket: Bucket, home: Path) -> None:
        self.bucket = bucket
        name = f"{safe_name(bucket.uri)}-{digest_of_text(bucket.uri)[:8]}"
        self.folder = home / "mirror" / name
        self.failures = 0
        self._in_a_row = 0
        self._tags: dict[str, str] = {}
        self._failed: dict[str, Failed] = {}
        self._states: dict[str, Desired] = {}
        self._fetching: threading.Thread | None = None
        self._lock: IO[str] | None = None
        self._has_looked, self._wake = threading.Event(), threading.Event()
        self._is_stopped, self._began = False, time.monotonic()

    def start(self) -> None:
        """Look again and again, in a thread of its own, until `stop`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        threading.Thread(target=self._follow, name="mirror", daemon=True).start()

    def stop(self) -> None:
        """End the thread after the look under way."""
        self._is_stopped = True
        self._wake.set()

    def is_ready(self) -> bool:
        """What was desired was whole here once, and the bucket has been asked for what is now."""
        has_waited = time.monotonic() - self._began > FIRST_LOOK_SECONDS
        is_current = self._has_looked.is_set() or has_waited
        return is_current and (self.folder / MIRRORED).is_file()

    def poll(self) -> None:
        """Look at the bucket once, by one listing. Raises PipelineError when it is out of reach."""
        listed = _listed(self.bucket.tags(""))
        self._take_small(listed)
        missing, is_whole = [], True
        for name, one in listed.items():
            usable = [v for v, tag in one.versions.items() if not self._is_refused(name, v, tag)]
            wanted = self._state(name).loaded(usable)
            self._drop(name, set(one.versions), wanted | self._state(name).loaded(one.versions))
            missing += [(name, version) for version in self._missing(name, one, wanted)]
            is_whole &= bool(wanted) or not one.versions
        if missing:
            self._fetch(*missing[0], listed[missing[0][0]].versions[missing[0][1]])
        elif is_whole:
            (self.folder / MIRRORED).touch()

    def _follow(self) -> None:
        while not self._is_stopped:
            self._wake.clear()
            pause = self._look()
            self._has_looked.set()
            self._wake.wait(pause)
        if self._lock:
            self._lock.close()

    def _look(self) -> float:
        """Look once, if that is this process's turn; seconds until the next time."""
        try:
            if self._is_mine():
                self.poll()
        except Exception as error:  # the thread must outlive whatever a bucket or a disk can do
            self.failures += 1
            self._in_a_row += 1
            if self._in_a_row == 1:
                told = "%s cannot be followed; what is here stays, and is served: %s"
                is_known = isinstance(error, PipelineError)
                log.error(told, self.bucket, error, exc_info=None if is_known else error)
            return float(min(POLL_SECONDS * 2**self._in_a_row, MAXIMUM_PAUSE_SECONDS))
        if self._in_a_row:
            log.warning("%s is followed again, after %s failures", self.bucket, self._in_a_row)
        self._in_a_row = 0
        return POLL_SECONDS

    def _is_mine(self) -> bool:
        """No other process that lives follows the bucket into this folder."""
        if self._lock is None:
            lock = (self.folder / ".lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            self._lock = lock
            for path in self.folder.glob(f"*/{SCRATCH}*"):  # of one that was killed
                shutil.rmtree(path, ignore_errors=True)
        return True

    def _take_small(self, listed: Mapping[str, Listed]) -> None:
        """What is desired comes before the versions: no new one may answer by accident."""
        tags = {
            f"{name}/{file}": tag for name, one in listed.items() for file, tag in one.small.items()
        }
        changed = {
            key: tag
            for key, tag in tags.items()
            if self._tags.get(key) != tag or not (self.folder / key).is_file()
        }
        for key, text in self.bucket.read_all(changed).items():
            write_text(self.folder / key, text)
            self._tags[key] = changed[key]
        for key in (f"{name}/{file}" for name in listed for file in SMALL):
            if key not in tags:
                self._tags.pop(key, None)
                (self.folder / key).unlink(missing_ok=True)

    def _state(self, name: str) -> Desired:
        """The desired state; the last good one while that in the bucket is broken."""
        try:
            self._states[name] = desired.read(self.folder / name)
        except (ArtifactError, OSError, UnicodeDecodeError):
            self._states.setdefault(name, Desired())
        return self._states[name]

    def _missing(self, name: str, one: Listed, wanted: set[int]) -> list[int]:
        """The versions to fetch: the one that answers first, then the highest."""
        here = set(publishing.versions(self.folder / name))
        default = self._state(name).default
        found = [
            version
            for version in wanted
            if version not in here or self._tags.get(f"{name}/{version}") != one.versions[version]
        ]
        return sorted(found, key=lambda version: (version != default, -version))

    def _is_refused(self, name: str, version: int, tag: str) -> bool:
        failed = self._failed.get(f"{name}/{version}")
        return bool(failed and failed.tag == tag and time.monotonic() < failed.until)

    def _drop(self, name: str, present: set[int], wanted: set[int]) -> None:
        """Remove what was withdrawn, and what is not desired, but for the latest of these."""
        here = set(publishing.versions(self.folder / name))
        spare = sorted((here & present) - wanted)[-SPARES:]
        for version in here - (wanted & present) - set(spare):
            self._remove(self.folder / name / str(version))
            self._tags.pop(f"{name}/{version}", None)

    def _remove(self, path: Path) -> None:
        """Out of the watcher's sight by one rename, then off the disk."""
        scratch = path.with_name(f"{SCRATCH}{uuid.uuid4().hex}")
        path.rename(scratch)
        shutil.rmtree(scratch, ignore_errors=True)

    def _fetch(self, name: str, version: int, tag: str) -> None:
        """Fetch in a thread of its own, one at a time, so that what is desired is followed on."""
        if self._fetching is None or not self._fetching.is_alive():
            given = name, version, tag
            self._fetching = threading.Thread(
                target=self._try, args=given, name="fetch", daemon=True
            )
            self._fetching.start()

    def _try(self, name: str, version: int, tag: str) -> None:
        key = f"{name}/{version}"
        try:
            self._bring(name, version)
        except Exception as error:  # told, and tried again later: what is here is served on
            self.failures += 1
            before = self._failed.get(key)
            times = before.times + 1 if before and before.tag == tag else 1
            pause = min(POLL_SECONDS * 2**times, MAXIMUM_PAUSE_SECONDS)
            self._failed[key] = Failed(tag, times, time.monotonic() + pause)
            if times == 1:
                log.error(
                    "%s version %s cannot be fetched, and is not served: %s", name, version, error
                )
        else:
            self._failed.pop(key, None)
            self._tags[key] = tag
        self._wake.set()

    def _bring(self, name: str, version: int) -> None:
        """Have a version here, whole. Raises ArtifactError when in the bucket it is not."""
        bucket, target = self.bucket / name / str(version), self.folder / name / str(version)
        text = bucket.read(MANIFEST)
        manifest = parse_manifest(text, bucket, name)
        if text == _text(target / MANIFEST) and _is_whole(target, manifest):
            return  # by an earlier process
        missing = sorted(set(manifest.files) - set(bucket.sizes("")))
        if missing or digest_of_all(manifest.files) != manifest.digest:
            raise ArtifactError(f"{bucket} is not what its manifest says: {missing or MANIFEST}")
        began, scratch = time.monotonic(), target.with_name(f"{SCRATCH}{uuid.uuid4().hex}")
        scratch.mkdir(parents=True)
        try:
            bucket.download({file: scratch / file for file in manifest.files})
            check_files(scratch, manifest)
            write_text(scratch / MANIFEST, text or "")
            if target.exists():
                self._remove(target)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        log.info("%s version %s is here, after %.1f s", name, version, time.monotonic() - began)


def _text(path: Path) -> str | None:
    return path.read_text(errors="replace") if path.is_file() else None


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    try:
        check_files(folder, manifest)
    except ArtifactError:
        return False
    return True


def _listed(tags: Mapping[str, str]) -> dict[str, Listed]:
    """The models in the bucket, from the tags of all objects in it."""
    found: defaultdict[str, Listed] = defaultdict(Listed)
    for key, tag in tags.items():
        match key.split("/"):
            case [name, file] if MODEL_NAME.fullmatch(name) and file in SMALL:
                found[name].small[file] = tag
            case [name, version, file] if MODEL_NAME.fullmatch(name) and file == MANIFEST:
                if version.isascii() and version.isdecimal() and str(int(version)) == version:
                    found[name].versions[int(version)] = tag
    return dict(found)
