"""Objects under a URI, by way of fsspec: each is written whole, or not at all."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pipeline_tasks.core.errors import ConfigError, PipelineError, TransientError

NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
# What no retry mends, by the names that botocore gives it.
UNKNOWN_TO_IT = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "NoRegionError",
    "UnauthorizedSSOTokenError",
    "ParamValidationError",
}


class Bucket:
    """Text and files by key. Raises ConfigError or TransientError, without any secret.

    setting: where the URI is from, for what is told.
    """

    def __init__(self, uri: str, setting: str = "PERENNIAL_STORE") -> None:
        self.uri = re.sub(r"//[^@]*:[^@]*@", "//", uri.rstrip("/"))
        self.name = self.uri.rpartition("/")[2]
        self._setting = setting
        self._seen: dict[str, str | None] = {}
        if self.uri != uri.rstrip("/"):
            raise ConfigError(
                f"{setting} has a password in it: {self.uri}",
                expected="a URI without one, such as s3://bucket/prefix",
                fix="give it to the store's client: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )

    def __truediv__(self, name: str) -> Self:
        """What is below a prefix; it knows what the whole has looked at."""
        below = type(self)(f"{self.uri}/{name}", self._setting)
        below._seen = self._seen
        return below

    def __str__(self) -> str:
        return self.uri

    def read(self, key: str) -> str | None:
        """An object's text, or None when there is no such object."""
        content = self.read_bytes(key)
        return None if content is None else content.decode(errors="replace")

    def read_bytes(self, key: str) -> bytes | None:
        """The same as bytes."""
        with self._told("reading", key) as (files, root):
            try:
                content: bytes = files.cat_file(f"{root}/{key}", **_whole(files))
            except FileNotFoundError as error:
                if _code(error) in NO_BUCKET:
                    raise
                return None
        return content

    def read_all(self, keys: Iterable[str]) -> dict[str, str]:
        """The text of these objects, at once; without those that are not there."""
        paths = list(keys)
        if not paths:
            return {}
        with self._told("reading", paths[0]) as (files, root):
            places = [f"{root}/{key}" for key in paths]
            found = files.cat(places, on_error="return", **_whole(files))
            for error in found.values():
                if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                    raise error
        texts = {key.removeprefix(f"{root}/"): value for key, value in found.items()}
        return {
            key: data.decode(errors="replace")
            for key, data in texts.items()
            if isinstance(data, bytes)
        }

    def write(self, key: str, content: str | bytes) -> None:
        """Replace an object in one atomic step."""
        with self._told("writing", key) as (files, root):
            files.pipe_file(f"{root}/{key}", _bytes(content))

    def create(self, key: str, content: str) -> bool:
        """Write an object unless there is one; True when this call made it, and nobody else."""
        with self._told("writing", key) as (files, root):
            try:
                files.pipe_file(f"{root}/{key}", _bytes(content), mode="create")
            except OSError as error:
                if not isinstance(error, FileExistsError) and _code(error) not in TAKEN:
                    raise
            else:
                return True
        # It may have been this call all the same: its answer was lost, and the client tried again.
        return self.read(key) == content

    def look(self, key: str) -> None:
        """Remember what an object is now, for `swap`."""
        with self._told("reading", key) as (files, root):
            try:
                self._seen[f"{self.uri}/{key}"] = _tag(files.info(f"{root}/{key}"))
            except FileNotFoundError as error:
                if _code(error) in NO_BUCKET:
                    raise
                self._seen[f"{self.uri}/{key}"] = None

    def swap(self, key: str, content: str) -> None:
        """Replace an object in one atomic step, if it still is what this process has looked at.

        Raises TransientError when somebody else has written it since. Where no write can be made
        conditional on what is there (other than in S3), it is looked at just before.
        """
        seen = f"{self.uri}/{key}"
        if seen not in self._seen:
            self.look(key)
        tag = self._seen.pop(seen)
        is_mine = self.create(key, content) if tag is None else self._swap(key, content, tag)
        self.look(key)
        if not is_mine or self.read(key) != content:
            del self._seen[seen]
            raise TransientError(
                f"{self.uri}/{key} has been written by somebody else meanwhile",
                expected="what was there when this process began with it",
                fix="nothing: the next try looks again",
            )

    def _swap(self, key: str, content: str, tag: str) -> bool:
        with self._told("writing", key) as (files, root):
            path = f"{root}/{key}"
            is_s3 = "s3" in files.protocol
            try:
                if is_s3 or _tag(files.info(path)) == tag:
                    files.pipe_file(path, _bytes(content), **({"IfMatch": tag} if is_s3 else {}))
                    return True
            except OSError as error:
                is_gone = isinstance(error, FileNotFoundError) and _code(error) not in NO_BUCKET
                if not is_gone and _code(error) not in TAKEN:
                    raise
        return self.read(key) == content

    def sizes(self, prefix: str) -> dict[str, int]:
        """The objects below a prefix, by their key there, with their size in bytes; sorted."""
        return {key: int(facts["size"]) for key, facts in self._listed(prefix).items()}

    def tags(self, prefix: str) -> dict[str, str]:
        """The same objects, with what changes whenever an object does."""
        return {key: _tag(facts) for key, facts in self._listed(prefix).items()}

    def _listed(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        with self._told("listing", prefix) as (files, root):
            top = f"{root}/{prefix}".rstrip("/")
            found: Mapping[str, Mapping[str, Any]] = files.find(top, detail=True)
        below = {key.removeprefix(f"{top}/"): facts for key, facts in found.items()}
        # Names become paths on this machine: none may lead out of a folder.
        return {key: below[key] for key in sorted(below) if not {"", ".."} & set(key.split("/"))}

    def upload(self, files_by_key: Mapping[str, Path], *, is_new: bool = False) -> None:
        """Send files. With `is_new`, raises TransientError when one of them is there already."""
        if not files_by_key:
            return
        with self._told("writing", next(iter(files_by_key))) as (files, root):
            local = [str(path) for path in files_by_key.values()]
            mode = {"mode": "create"} if is_new else {}
            files.put(local, [f"{root}/{key}" for key in files_by_key], **mode)

    def download(self, files_by_key: Mapping[str, Path]) -> None:
        """Fetch files. Raises FileNotFoundError when one of them is no longer there."""
        for path in files_by_key.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._told("reading", next(iter(files_by_key), "")) as (files, root):
            local = [str(path) for path in files_by_key.values()]
            files.get([f"{root}/{key}" for key in files_by_key], local)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no mistake."""
        with self._told("deleting", "") as (files, root):
            paths = [f"{root}/{key}" for key in keys]
            try:
                if paths:
                    files.rm(paths)
            except FileNotFoundError as error:
                if _code(error) in NO_BUCKET:
                    raise

    @contextmanager
    def _told(self, doing: str, key: str) -> Iterator[tuple[Any, str]]:
        """The file system and its root; what it says against it becomes one of our errors."""
        try:
            import fsspec

            # Made anew in a forked process; else fsspec gives the same one again.
            yield fsspec.url_to_fs(self.uri, use_listings_cache=False)
            return
        except PipelineError:
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError) and _code(error) not in NO_BUCKET:
                raise
            told = self._explained(error, f"{self.uri}: {doing} {key}".rstrip())
        raise told

    def _explained(self, error: Exception, doing: str) -> PipelineError:
        text = re.sub(r"//[^@\s]*@", "//", str(error)) or type(error).__name__
        if isinstance(error, ImportError):
            return ConfigError(f"{doing}: {text}", fix="install that package where this runs")
        if isinstance(error, ValueError) and "rotocol" in text:
            expected = "a folder, or a URI that fsspec knows, such as s3://bucket/prefix"
            return ConfigError(f"{doing}: {text}", expected=expected, fix=f"mend {self._setting}")
        if _code(error) in NO_BUCKET:
            fix = f"make the bucket, or mend {self._setting}"
            return ConfigError(f"{doing}: {text}", expected="a bucket that is there", fix=fix)
        if isinstance(error, PermissionError) or type(error).__name__ in UNKNOWN_TO_IT:
            fix = "look at AWS_ACCESS_KEY_ID, AWS_PROFILE and what this user may do"
            return ConfigError(f"{doing}: {text}", expected="credentials that may", fix=fix)
        if isinstance(error, FileExistsError):
            fix = "nothing: the next try begins anew"
            return TransientError(f"{doing}: somebody else writes there: {text}", fix=fix)
        is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        fix = "make room in PERENNIAL_HOME" if is_full else "look whether the store is up"
        return TransientError(f"{doing}: {text}", fix=fix)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _whole(files: Any) -> dict[str, int]:
    """How to read an object at once; s3fs would ask for its size before, in case it is large."""
    return {"max_concurrency": 1} if "s3" in files.protocol else {}


def _tag(facts: Mapping[str, Any]) -> str:
    """S3 and Google call it ETag; others know when an object was written, and its size."""
    known = facts.get("ETag") or facts.get("etag") or facts.get("mtime") or facts.get("created")
    return str(known or facts["size"])


def _code(error: BaseException) -> str:
    """What S3 calls an error; s3fs keeps it in the cause."""
    response = getattr(error.__cause__ or error, "response", None)
    found = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(found.get("Code", ""))


# A folder of this machine, or what stands for one in a bucket.
Place = Path | Bucket


def place_at(uri: str, setting: str) -> Place:
    """The folder, or the bucket, that a setting names."""
    folder = uri.removeprefix("file://")
    return Bucket(uri, setting) if "://" in folder else Path(folder)
