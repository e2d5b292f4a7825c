"""Where a store keeps what, below its root."""

from __future__ import annotations

import re


def safe_name(name: str) -> str:
    """A folder name for any run id: no separators, no leading dot, at most 200 characters.

    >>> safe_name("manual__2026-01-02T03:04:05+00:00")
    'manual__2026-01-02T03_04_05_00_00'
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:200] or "_"


def place(pipeline: str, run: str, artifact: str) -> str:
    """Where an artifact is."""
    return "/".join([safe_name(pipeline), "runs", safe_name(run), safe_name(artifact)])


def scratch(pipeline: str, run: str, name: str) -> str:
    """Where a run keeps what a retry of it goes on with."""
    return "/".join([safe_name(pipeline), "scratch", safe_name(run), safe_name(name)])


def version(pipeline: str, version: int) -> str:
    """Where the record of a version is."""
    return f"{safe_name(pipeline)}/versions/{version}.json"


def fingerprint(pipeline: str, fingerprint: str) -> str:
    """Where it is said which artifact has this fingerprint."""
    return f"{safe_name(pipeline)}/fingerprints/{fingerprint}.json"


def latest(pipeline: str, artifact: str) -> str:
    """Where it is said which artifact is the latest of its kind."""
    return f"{safe_name(pipeline)}/latest/{safe_name(artifact)}.json"
