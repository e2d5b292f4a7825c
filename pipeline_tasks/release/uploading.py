"""A model's versions in a bucket, where nothing can be renamed: the manifest comes last.

<bucket>/<version>/variables/...              first, each object only if there is none
<bucket>/<version>/saved_model.pb             then: TensorFlow loads nothing without it
<bucket>/<version>/manifest.json              then the version is there, and stays as it is
<bucket>/withdrawn/<version>/manifest.json    where it is moved when the version is withdrawn
"""

from __future__ import annotations

from pathlib import Path

from pipeline_tasks.core.artifact import MANIFEST, Manifest, parse_manifest, read_manifest
from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.errors import ArtifactError, TransientError

GRAPH = "saved_model.pb"


def put(exported: Path, bucket: Bucket, version: int) -> None:
    """Send an exported model that is whole; until its manifest is there, it is nobody's version.

    What one who died has left under this number goes first; of the very same model that is there,
    only what is missing is sent. Raises TransientError when somebody else publishes this version.
    """
    text = (exported / MANIFEST).read_text()
    manifest, known = read_manifest(exported), read(bucket, version)
    if known and known.digest != manifest.digest:
        raise _contended(bucket, version, MANIFEST)
    if known is None:
        bucket.delete([f"{version}/{name}" for name in bucket.sizes(str(version))])
    there = set(bucket.sizes(str(version)))
    names = [name for name in manifest.files if name not in there]
    for part in ([n for n in names if n != GRAPH], [n for n in names if n == GRAPH]):
        bucket.upload({f"{version}/{name}": exported / name for name in part}, is_new=True)
    _check(exported, bucket, version)
    if known is None and not bucket.create(f"{version}/{MANIFEST}", text):
        raise _contended(bucket, version, MANIFEST)


def withdraw(bucket: Bucket, version: int, withdrawn: str) -> None:
    """Take the manifest away from a version; a killed one is begun again."""
    text = bucket.read(f"{version}/{MANIFEST}")
    if text is not None:
        bucket.write(f"{withdrawn}/{version}/{MANIFEST}", text)
        bucket.delete([f"{version}/{MANIFEST}"])


def restore(bucket: Bucket, version: int, withdrawn: str) -> None:
    """Give a version its manifest back. Raises ArtifactError when one of its files is gone."""
    text = bucket.read(f"{withdrawn}/{version}/{MANIFEST}")
    manifest = parse_manifest(text, f"{bucket}/{withdrawn}/{version}", bucket.name)
    missing = sorted(set(manifest.files) - set(bucket.sizes(str(version))))
    if missing:
        raise ArtifactError(
            f"{bucket}/{version} is not what its manifest says: {missing[0]} is missing",
            fix="choose another version, or train again",
        )
    if not bucket.create(f"{version}/{MANIFEST}", text or ""):
        raise _contended(bucket, version, MANIFEST)
    bucket.delete([f"{withdrawn}/{version}/{MANIFEST}"])


def versions(bucket: Bucket) -> list[int]:
    """The versions that have their manifest."""
    found = (key.split("/") for key in bucket.sizes(""))
    return sorted(int(key[0]) for key in found if key[1:] == [MANIFEST] and key[0].isdecimal())


def read(bucket: Bucket, version: int) -> Manifest | None:
    """A version's manifest; None when there is no such version."""
    text = bucket.read(f"{version}/{MANIFEST}")
    return None if text is None else parse_manifest(text, f"{bucket}/{version}", bucket.name)


def _check(exported: Path, bucket: Bucket, version: int) -> None:
    """Nothing is missing, cut short or another's, as far as a listing shows."""
    sizes = bucket.sizes(str(version))
    sizes.pop(MANIFEST, None)
    wanted = {name: (exported / name).stat().st_size for name in read_manifest(exported).files}
    if sizes != wanted:
        name = min(name for name, _ in sizes.items() ^ wanted.items())
        raise _contended(bucket, version, name)


def _contended(bucket: Bucket, version: int, name: str) -> TransientError:
    return TransientError(
        f"{bucket}/{version}/{name} is not what was sent there: somebody else publishes version "
        f"{version} as well",
        fix="nothing: the next try cleans up and begins anew",
    )
