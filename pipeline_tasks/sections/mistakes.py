"""What is wrong in a pipeline file, for the person who wrote it: every mistake, with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError


def report(path: Path, document: str, error: ValidationError) -> str:
    """All mistakes of a file, a line each, with the line in the file where that is known."""
    lines = _line_numbers(yaml.compose(document))
    listed = [
        f"  {path.name}:{_line(lines, place)}: {'.'.join(map(str, place)) or 'the file'}: {text}"
        for place, text in found(error.errors())
    ]
    count = f"{len(listed)} mistake" + ("s" if len(listed) > 1 else "")
    return "\n".join([f"{path}: {count}", *listed])


def found(errors: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Where each mistake is, as keys from the top, and what is wrong there."""
    for error in errors:
        place = prefix + tuple(error["loc"])
        if error["type"] == "part":
            yield from found(error["ctx"]["errors"], place)
        elif error["type"] == "unknown_part":
            yield (*place, "kind"), error["msg"].replace("\n", "\n    ")
        else:
            given = "" if error["type"] == "missing" else f" (found {error['input']!r:.80})"
            yield place, _hint(error) + given


def _hint(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such key here; check the spelling or remove it"
    if error["type"] == "missing":
        return "this key is required; add it"
    return str(error["msg"]).removeprefix("Value error, ")


def _line_numbers(node: Any, place: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], int]:
    known = {place: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            known |= _line_numbers(value, (*place, key.value))
            known[(*place, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            known |= _line_numbers(value, (*place, index))
    return known


def _line(lines: dict[tuple[Any, ...], int], place: tuple[Any, ...]) -> int:
    while place not in lines:
        place = place[:-1]
    return lines[place]
