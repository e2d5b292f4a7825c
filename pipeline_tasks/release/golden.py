"""Golden questions: rows with the answers the trained model gave before it was exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline_tasks.core.errors import DeploymentError
from pipeline_tasks.core.store import read_json

FILE = "assets.extra/golden.json"
TOLERANCE = 1e-5


def questions(folder: Path) -> tuple[list[JsonValue], list[Any]]:
    """The instances and their expected predictions, from an exported folder."""
    golden: Any = read_json(folder / FILE)
    return golden["instances"], golden["predictions"]


def compare(expected: list[Any], found: list[Any], *, who: str) -> float:
    """The largest difference of a probability, or of a number relative to its size.

    Raises DeploymentError when a label differs, or one of these does by more than 1e-5.
    """
    if len(expected) != len(found):
        raise DeploymentError(f"{who} gave {len(found)} answers to {len(expected)} questions")
    worst = 0.0
    for number, (wanted, given) in enumerate(zip(expected, found, strict=True), start=1):
        difference = _difference(wanted, given)
        worst = max(worst, difference)
        is_same = not isinstance(wanted, dict) or wanted["label"] == given["label"]
        if not is_same or not difference <= TOLERANCE:
            raise DeploymentError(
                f"{who} answers golden question {number} with {given}, off by {difference:.2g}",
                expected=f"{wanted} within {TOLERANCE:g}, as before the export",
                fix="look for an operation that depends on the batch, the machine or the time",
            )
    return worst


def _difference(wanted: Any, given: Any) -> float:
    if not isinstance(wanted, dict):
        return abs(float(wanted) - float(given)) / max(1.0, abs(float(wanted)))
    pairs = zip(wanted["probabilities"], given["probabilities"], strict=True)
    return max(abs(float(a) - float(b)) for a, b in pairs)
