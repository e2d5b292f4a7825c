"""Time, always in UTC and always from here."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current time with its zone."""
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: sorts as text in the order of time.

    >>> text(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(moment: str) -> datetime:
    """The moment that `text` wrote."""
    return datetime.fromisoformat(moment).astimezone(UTC)


def utc(moment: str) -> str:
    """A moment of any zone as `text` writes it. Raises ValueError when it names no zone.

    >>> utc("2026-01-02T04:04:05+01:00")
    '2026-01-02T03:04:05.000Z'
    """
    found = datetime.fromisoformat(moment)
    if found.tzinfo is None:
        raise ValueError(f"{moment!r} names no time zone")
    return text(found)
