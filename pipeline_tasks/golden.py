"""Golden questions: rows with the answers the trained model gave before it was exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline_tasks.core.errors import DeploymentError
from pipeline_tasks.core.store import read_json

TOLERANCE = 1e-5


def questions(folder: Path) -> tuple[list[JsonValue], list[Any]]:
    """The instances and their expected predictions, from an exported folder."""
    golden: Any = read_json(folder / "assets.extra" / "golden.json")
    return golden["instances"], golden["predictions"]


def compare(expected: list[Any], found: list[Any], *, who: str) -> float:
    """The largest difference of a probability.

    Raises DeploymentError when a label differs or a probability does by more than 1e-5.
    """
    if len(expected) != len(found):
        raise DeploymentError(f"{who} gave {len(found)} answers to {len(expected)} questions")
    worst = 0.0
    for number, (wanted, given) in enumerate(zip(expected, found, strict=True), start=1):
        pairs = zip(wanted["probabilities"], given["probabilities"], strict=True)
        difference = max(abs(float(a) - float(b)) for a, b in pairs)
        worst = max(worst, difference)
        if wanted["label"] != given["label"] or not difference <= TOLERANCE:
            raise DeploymentError(
                f"{who} answers golden question {number} with {given['label']!r}, "
                f"probabilities off by {difference:.2g}",
                expected=f"{wanted['label']!r} within {TOLERANCE:g}, as before the export",
                fix="look for an operation that depends on the batch, the machine or the time",
            )
    return worst
