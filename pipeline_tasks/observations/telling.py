"""What a label must be, whoever tells it, and how it is kept."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import orjson

from pipeline_tasks.observations import Truth

PREDICTION_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
LONGEST_TEXT = 10_000
LARGEST = 2**63


class Told(NamedTuple):
    """A label as it is told, and when it became true, if that is told."""

    label: Truth
    observed_at: str = ""


def line(identity: str, told: Told, moment: str) -> bytes:
    """One line of the log of labels; `moment` is when the label arrived."""
    content = {"id": identity, "time": moment, "label": told.label}
    content |= {"observed_at": told.observed_at} if told.observed_at else {}
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def misfit(label: object) -> str:
    """What a label must be that this is not; nothing if it is one."""
    if isinstance(label, str):
        return "" if 0 < len(label) <= LONGEST_TEXT else f"text of 1 to {LONGEST_TEXT} characters"
    if isinstance(label, bool) or not isinstance(label, int | float):
        return "text or a number"
    if isinstance(label, int):
        return "" if -LARGEST <= label < LARGEST else "a number of 64 bits"
    return "" if math.isfinite(label) else "a finite number"
