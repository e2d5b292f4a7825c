"""What a step's result depends on, as one digest: code, settings, input content, libraries."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import JsonValue

PACKAGE = Path(__file__).parent.parent
IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+({PACKAGE.name}[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|.+)"
    rf"|import[ \t]+({PACKAGE.name}[\w.]*))",
    re.MULTILINE,
)
LIBRARIES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn")


def fingerprint(
    *, modules: Iterable[str], settings: JsonValue, inputs: Iterable[str], content: str
) -> str:
    """The digest under which a step's artifact may be used again.

    modules: the step's module and those of the parts it uses; what they import from this
    package counts too. inputs: digests of the artifacts the step reads. content: a digest of
    what it reads from outside the store, such as the source's file.
    """
    facts = {
        "code": code_digest(frozenset(modules)),
        "settings": settings,
        "inputs": list(inputs),
        "content": content,
        "libraries": library_versions(),
    }
    return digest_of_text(json.dumps(facts, sort_keys=True))


def digest_of_text(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Python's version and those of the libraries that change a result, without importing them."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python} | {name: metadata.version(name) for name in LIBRARIES}


@cache
def code_digest(modules: frozenset[str]) -> str:
    """A digest of the source of `modules` and of everything they import from this package."""
    sources = {path: path.read_bytes() for path in _closure(modules)}
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + sources[path] + b"\0")
    return digest.hexdigest()


def _closure(modules: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = _path(waiting.pop())
        if path is not None and path not in found:
            found.add(path)
            waiting += _imports(path)
    return found


def _path(module: str) -> Path | None:
    if not module.startswith(f"{PACKAGE.name}."):
        return None
    base = PACKAGE.joinpath(*module.split(".")[1:])
    file, package = base.with_suffix(".py"), base / "__init__.py"
    return file if file.is_file() else package if package.is_file() else None


@cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_found_imports(path))


def _found_imports(path: Path) -> Iterator[str]:
    """Modules of this package; a word too many, from a comment say, is no module and does no harm.

    By its text: parsing every module cost a third of a run in which nothing has changed.
    """
    for module, names, alone in re.findall(IMPORT, path.read_text(encoding="utf-8")):
        yield module or alone
        yield from (f"{module}.{name}" for name in re.findall(r"\w+", names))
