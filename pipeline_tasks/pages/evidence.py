"""What was known when it was decided whether to train again, in words, with units."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline_tasks.core.store import RETRAINING
from pipeline_tasks.core.values import HistoryEntry
from pipeline_tasks.decisions.retraining import Nightly
from pipeline_tasks.monitoring.evidence import BY_HAND, DUE

# In the order in which they are read: by the name in the history, words and a unit.
WORDS = {
    "labelled": ("Labelled rows to learn from", "rows"),
    "new_rows": ("Labelled rows since the last training", "rows"),
    "age_days": ("Since the last training", "days"),
    "minutes_since": ("Since the last retraining began", "minutes"),
    "retrainings": ("Counted against the budget", "retrainings"),
    "in_vain": ("The last ones without a proven gain", "retrainings"),
    "is_answered": ("This episode was decided on before", ""),
    "regime_rows": ("Labelled rows since the change", "rows"),
    "regime_first_rows": ("When its first retraining began", "rows"),
    "regime_follow_ups": ("Followed up by", "retrainings"),
    "regime_is_over": ("A new alarm has come since", ""),
}
HOUR_MINUTES = 60
NIGHTLY = "nightly_trainings", "nightly_seconds"


def facts(entry: HistoryEntry) -> Iterator[tuple[str, str]]:
    """Each number that the decision weighed; last, what the calendar would have done instead."""
    for name in sorted(entry.numbers, key=_place):
        value = entry.numbers[name]
        words, unit = WORDS.get(name, (name.replace("_", " "), ""))
        if value is not None and name not in NIGHTLY:
            yield words, _text(value, unit)
    trainings, seconds = (entry.numbers.get(name) for name in NIGHTLY)
    if isinstance(trainings, int):
        cost = float(seconds) if isinstance(seconds, int | float) else None
        yield "A nightly schedule since the last decision", Nightly(trainings, cost).text


def alarm(entry: HistoryEntry) -> str:
    """The look that the decision was about; empty where it was about none."""
    is_about_one = entry.event == RETRAINING and entry.subject not in (DUE, BY_HAND)
    return entry.subject if is_about_one else ""


def _place(name: str) -> int:
    """Where it is among the others; what this page does not know comes last."""
    return [*WORDS, name].index(name)


def _text(value: str | float, unit: str) -> str:
    """
    >>> _text(1200, "rows"), _text(1, "retrainings"), _text(3.44, "days"), _text(False, "")
    ('1,200 rows', '1 retraining', '3.4 days', 'no')
    >>> _text(45.2, "minutes"), _text(150.0, "minutes")
    ('45.2 minutes', '2.5 hours')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if unit == "minutes" and value >= HOUR_MINUTES:
        value, unit = value / HOUR_MINUTES, "hours"
    if isinstance(value, float):
        return f"{value:,.1f} {unit}".rstrip()
    return f"{value:,} {unit if value != 1 else unit.removesuffix('s')}".rstrip()
