"""A form made from what a version takes, and its answer to one row."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.core.values import Champion
from pipeline_tasks.pages.files import Files
from pipeline_tasks.release import golden
from pipeline_tasks.sections.settings import Column
from pipeline_tasks.serving.client import Client

MOST_SHOWN = 10
WAIT_SECONDS = 15


@dataclass(frozen=True)
class Field:
    """One column that a client sends. example: from the golden questions of the version."""

    name: str
    type: str
    hint: str
    shape: tuple[int, ...] = ()
    least: float = 0.0
    most: float = 1.0
    choices: tuple[str, ...] = ()
    example: JsonValue = None


@dataclass(frozen=True)
class Said:
    """The answer. shares: of each class, the largest first. problem: why there is no answer."""

    said: object = None
    version: int = 0
    ms: float = 0.0
    shares: Sequence[tuple[str, float]] = ()
    problem: str = ""


def fields(files: Files, champion: Champion) -> list[Field] | None:
    """What the champion's signature takes; None when it is no longer there."""
    made = files.manifest(champion.exported)
    asked = files.json(champion.exported, golden.FILE)
    if made is None or asked is None:
        return None
    settings: Any = made.settings
    columns = {name: Column.model_validate(one) for name, one in settings["columns"].items()}
    instances: Any = asked["instances"]
    example: Any = instances[0] if instances else {}
    return [
        _field(name, column, example.get(name))
        for name, column in columns.items()
        if column.is_input
    ]


def _field(name: str, column: Column, example: JsonValue) -> Field:
    least = column.minimum if column.minimum is not None else 0.0
    most = column.maximum if column.maximum is not None else 1.0
    hints = {
        "image": f"{' by '.join(map(str, column.shape or ()))} pixels, {least:g} to {most:g}",
        "number": _range(column),
        "date": "ISO format, such as 2026-01-31",
    }
    may_be_missing = ", may be empty" if column.may_be_missing else ""
    return Field(
        name=name,
        type=column.type,
        hint=hints.get(column.type, column.type) + may_be_missing,
        shape=tuple(column.shape or ()),
        least=least,
        most=most,
        choices=column.values or (),
        # As a person would write it: of float32, the digits that mean something.
        example=float(f"{example:.6g}") if isinstance(example, float) else example,
    )


def _range(column: Column) -> str:
    words = ["a number"]
    words += [f"from {column.minimum:g}"] if column.minimum is not None else []
    words += [f"to {column.maximum:g}"] if column.maximum is not None else []
    return " ".join(words)


def ask(url: str, name: str, instance: Mapping[str, JsonValue], classes: Sequence[object]) -> Said:
    """One row's answer; what is in the way is in it, for a person. classes: the label's."""
    began = time.monotonic()
    try:
        with Client(url, timeout_seconds=WAIT_SECONDS) as client:
            [answer], version, _ = client.predict(name, [instance], is_probe=True)
    except PipelineError as error:
        return Said(problem=str(error))
    ms = (time.monotonic() - began) * 1000
    if not isinstance(answer, dict):
        return Said(answer, version, ms)
    pairs = zip(map(str, classes), answer.get("probabilities") or (), strict=False)
    shares = sorted(pairs, key=lambda pair: -pair[1])[:MOST_SHOWN]
    return Said(answer.get("label"), version, ms, shares)
