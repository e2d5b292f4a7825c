"""Which of the labels of one prediction counts, and what each of them was when it arrived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["first", "duplicate", "corrected", "conflicting", "outdated"]
KINDS: tuple[Kind, ...] = ("first", "duplicate", "corrected", "conflicting", "outdated")


class Entry(NamedTuple):
    """One label: when it arrived, when it was true, and a number for what it says."""

    arrived: str
    moment: str
    label: int


def counting(entries: Sequence[Entry]) -> Entry:
    """The entry that counts: the one that was true last; of several of then, the last to arrive.

    >>> late = Entry("13:00", "09:00", 0)
    >>> counting([Entry("12:00", "10:00", 1), late]).label
    1
    """
    return max(enumerate(entries), key=lambda one: (one[1].moment, one[1].arrived, one[0]))[1]


def kinds(entries: Sequence[Entry]) -> list[Kind]:
    """What each entry was, in the order of arrival, beside the one that counted until then.

    duplicate: it said the same. corrected: something else, of a later moment, and counts since.
    conflicting: something else of the same moment. outdated: something else of an earlier one.
    """
    found: list[Kind] = ["first"]
    before = entries[0]
    for entry in entries[1:]:
        found.append(_kind(before, entry))
        before = counting([before, entry])
    return found


def _kind(before: Entry, entry: Entry) -> Kind:
    if entry.label == before.label:
        return "duplicate"
    if entry.moment == before.moment:
        return "conflicting"
    return "corrected" if entry.moment > before.moment else "outdated"
