"""Files of artifacts, which never change: each is read once, and those of many at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from pydantic import ValidationError

from pipeline_tasks.core import keys
from pipeline_tasks.core.artifact import MANIFEST, Manifest, digest_of_all
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Ref
from pipeline_tasks.release import quarantine

MOST_KNOWN = 4_000
Key = tuple[str, str, str]


class Files:
    """What artifacts hold; None where one is no longer there, or not whole.

    Only what is asked for is read, and held against its digest in the manifest: the rest of an
    artifact may be large and, in a bucket, far away.
    """

    def __init__(self, store: Store) -> None:
        self._kept = store.kept
        self._known: dict[Key, Any] = {}
        self._lock = Lock()

    def json(self, ref: Ref, name: str) -> Any:
        """The content of one JSON file."""
        return self.jsons([ref], name)[0]

    def jsons(self, refs: Sequence[Ref], name: str) -> list[Any]:
        """The file of this name of each artifact."""
        return self._each(refs, name, lambda new: [_parsed(one) for one in self._texts(new, name)])

    def text(self, ref: Ref, name: str) -> str | None:
        """The same as text."""
        found: str | None = self._each(
            [ref], f"{name} as text", lambda new: self._texts(new, name)
        )[0]
        return found

    def manifest(self, ref: Ref) -> Manifest | None:
        """The artifact's manifest."""
        return self._manifests([ref])[0]

    def mark(self, model: Ref) -> str:
        """What names a model in quarantine."""
        found = self.manifest(model)
        return quarantine.mark_of(model, found.files) if found else model.digest

    def _each(
        self, refs: Sequence[Ref], name: str, read: Callable[[list[Ref]], Sequence[Any]]
    ) -> list[Any]:
        """What is known of each; what is not is read, all of it at once."""
        wanted = {_key(ref, name): ref for ref in refs}
        with self._lock:
            known = {key: self._known[key] for key in wanted if key in self._known}
        new = [key for key in wanted if key not in known]
        found = dict(zip(new, read([wanted[key] for key in new]), strict=True)) if new else {}
        with self._lock:
            self._known |= found
            for key in list(self._known)[:-MOST_KNOWN]:
                del self._known[key]
        return [(known | found)[_key(ref, name)] for ref in refs]

    def _manifests(self, refs: Sequence[Ref]) -> list[Manifest | None]:
        return self._each(refs, MANIFEST, self._read_manifests)

    def _read_manifests(self, refs: Sequence[Ref]) -> list[Manifest | None]:
        places = [f"{_place(ref)}/{MANIFEST}" for ref in refs]
        texts = self._kept.read_all(places)
        return [_whole(texts.get(place), ref) for place, ref in zip(places, refs, strict=True)]

    def _texts(self, refs: Sequence[Ref], name: str) -> list[str | None]:
        digests = [one.files.get(name) if one else None for one in self._manifests(refs)]
        places = [f"{self._kept.files(_place(ref), ref.digest)}/{name}" for ref in refs]
        there = [place for place, digest in zip(places, digests, strict=True) if digest]
        texts = self._kept.read_all(there)
        pairs = zip((texts.get(place) for place in places), digests, strict=True)
        return [text if text and digest_of_text(text) == digest else None for text, digest in pairs]


def _place(ref: Ref) -> str:
    return keys.place(ref.pipeline, ref.run, ref.artifact)


def _key(ref: Ref, name: str) -> Key:
    return _place(ref), ref.digest, name


def _whole(text: str | None, ref: Ref) -> Manifest | None:
    try:
        found = Manifest.model_validate_json(text) if text is not None else None
    except ValidationError:
        return None
    is_it = found is not None and found.digest == ref.digest == digest_of_all(found.files)
    return found if is_it else None


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)
