"""A candidate beside the version that answers: who is asked, and what the background found."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pipeline_tasks.release.desired import Trial, is_chosen
from pipeline_tasks.serving.rest.codec import Array
from pipeline_tasks.serving.versions.servable import Table
from pipeline_tasks.serving.versions.slot import Slot

TOLERANCE = 1e-3


def candidate(table: Table, model: str, key: str) -> tuple[Trial, Slot] | None:
    """The trial that a request with this key is part of, and the candidate's slot."""
    trial = table.trial
    if trial is None or not is_chosen(model, key, trial.percent):
        return None
    slot = table.slots.get(trial.version)
    return (trial, slot) if slot else None


def disagreements(expected: Mapping[str, Array], found: Mapping[str, Array], rows: int) -> int:
    """Rows answered otherwise: another label or text, or a number that differs by over 1e-3.

    A number's difference is relative to its size where that is above 1; NaN agrees with NaN.
    """
    if expected.keys() != found.keys():
        return rows
    is_other = np.zeros(rows, dtype=bool)
    for name, wanted in expected.items():
        given = found[name]
        if wanted.shape != given.shape or len(wanted) != rows:
            return rows
        is_other |= _differs(wanted, given).reshape(rows, -1).any(axis=1)
    return int(is_other.sum())


def nonfinite_rows(outputs: Mapping[str, Array], rows: int) -> int:
    """Rows with a NaN or an infinity in an output."""
    # A sum of squares is finite unless a value is not, or is so large that a closer look is due.
    suspects = [
        values
        for values in outputs.values()
        if values.dtype.kind == "f" and not math.isfinite(np.vdot(values, values))
    ]
    if not suspects:
        return 0
    is_wrong = np.zeros(rows, dtype=bool)
    for values in suspects:
        if values.ndim == 0 or len(values) != rows:
            is_wrong |= not np.isfinite(values).all()
        else:
            is_wrong |= ~np.isfinite(values).reshape(rows, -1).all(axis=1)
    return int(is_wrong.sum())


def _differs(wanted: Array, given: Array) -> Array:
    if wanted.dtype.kind != "f" or given.dtype.kind != "f":
        return np.asarray(wanted != given)
    with np.errstate(invalid="ignore"):
        allowed = TOLERANCE * np.maximum(1.0, np.abs(wanted))
        is_same = np.abs(wanted - given) <= allowed
    is_same |= (wanted == given) | (np.isnan(wanted) & np.isnan(given))
    return np.asarray(~is_same)
