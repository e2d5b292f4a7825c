"""Objects under a URI, by way of fsspec: each is written whole, or not at all."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    """Text and files by key. Raises ConfigError or TransientError, without any secret."""

    def __init__(self, uri: str) -> None:
        self.uri = re.sub(r"//[^@]*:[^@]*@", "//", uri.rstrip("/"))
        if self.uri != uri.rstrip("/"):
            raise ConfigError(
                f"PERENNIAL_STORE has a password in it: {self.uri}",
                expected="a URI without one, such as s3://bucket/prefix",
                fix="give it to the store's client: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )

    def read(self, key: str) -> str | None:
        """An object's text, or None when there is no such object."""
        with self._told("reading", key) as (files, root):
            try:
                data: bytes = files.cat_file(f"{root}/{key}")
            except FileNotFoundError as error:
                if _code(error) in NO_BUCKET:
                    raise
                return None
        return data.decode(errors="replace")

    def read_all(self, keys: Iterable[str]) -> dict[str, str]:
        """The text of these objects, at once; without those that are not there."""
        paths = list(keys)
        if not paths:
            return {}
        with self._told("reading", paths[0]) as (files, root):
            found = files.cat([f"{root}/{key}" for key in paths], on_error="return")
            for error in found.values():
                if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                    raise error
        texts = {key.removeprefix(f"{root}/"): value for key, value in found.items()}
        return {key: data.decode() for key, data in texts.items() if isinstance(data, bytes)}

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

    def sizes(self, prefix: str) -> dict[str, int]:
        """The objects below a prefix, by their key there, with their size in bytes; sorted."""
        with self._told("listing", prefix) as (files, root):
            found: Mapping[str, Any] = files.find(f"{root}/{prefix}", detail=True)
        start = f"{root}/{prefix}/"
        sizes = {key.removeprefix(start): int(facts["size"]) for key, facts in found.items()}
        # Names become paths on this machine: none may lead out of a folder.
        return {key: sizes[key] for key in sorted(sizes) if not {"", ".."} & set(key.split("/"))}

    def upload(self, files_by_key: Mapping[str, Path]) -> None:
        """Send files."""
        with self._told("writing", next(iter(files_by_key), "")) as (files, root):
            local = [str(path) for path in files_by_key.values()]
            files.put(local, [f"{root}/{key}" for key in files_by_key])

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
            return ConfigError(f"{doing}: {text}", expected=expected, fix="mend PERENNIAL_STORE")
        if _code(error) in NO_BUCKET:
            fix = "make the bucket, or mend PERENNIAL_STORE"
            return ConfigError(f"{doing}: {text}", expected="a bucket that is there", fix=fix)
        if isinstance(error, PermissionError) or type(error).__name__ in UNKNOWN_TO_IT:
            fix = "look at AWS_ACCESS_KEY_ID, AWS_PROFILE and what this user may do"
            return ConfigError(f"{doing}: {text}", expected="credentials that may", fix=fix)
        is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        fix = "make room in PERENNIAL_HOME" if is_full else "look whether the store is up"
        return TransientError(f"{doing}: {text}", fix=fix)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _code(error: BaseException) -> str:
    """What S3 calls an error; s3fs keeps it in the cause."""
    response = getattr(error.__cause__ or error, "response", None)
    found = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(found.get("Code", ""))
