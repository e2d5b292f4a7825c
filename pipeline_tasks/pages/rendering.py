"""Pages as HTML: templates, and how values read in them."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline_tasks.core import clock
from pipeline_tasks.pages import evidence
from pipeline_tasks.pages.stages import summary_of

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
BEGINNINGS = {
    "operator_triggered": "the loop itself",
    "scheduled": "the schedule",
    "asset_triggered": "new data",
    "manual": "a person",
    "backfill": "a backfill",
}
SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@cache
def environment() -> Environment:
    """The templates' environment: everything is escaped, nothing may be undefined."""
    found = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "at": at,
        "age": age,
        "number": number,
        "share": share,
        "size": size,
        "seconds": seconds,
        "summary": summary_of,
        "person": person,
        "facts": evidence.facts,
        "alarm": evidence.alarm,
        "path": lambda text: quote(str(text), safe=""),
    }
    return found


def render(template: str, **values: object) -> str:
    """One page."""
    return environment().get_template(template).render(**values)


def compile_all() -> None:
    """Compile every template now, so that no reader waits for it."""
    for name in environment().list_templates():
        environment().get_template(name)


def at(text: str | datetime | None) -> Markup:
    """A moment in UTC; the page's script shows it in the reader's zone."""
    if not text:
        return Markup("-")
    moment = clock.parse(text) if isinstance(text, str) else text
    return Markup('<time datetime="{}">{}</time>').format(
        clock.text(moment), f"{moment:%Y-%m-%d %H:%M} UTC"
    )


def age(text: str | None) -> str:
    """How long ago, or how soon, in one unit."""
    if not text:
        return "-"
    passed = clock.now() - clock.parse(text)
    if passed < timedelta(0):
        return f"in {_long(-passed)}"
    return f"{_long(passed)} ago"


def _long(passed: timedelta) -> str:
    """
    >>> _long(timedelta(hours=30))
    '30 hours'
    """
    total = passed.total_seconds()
    units = (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0))
    for name, size_seconds in units:
        if total >= size_seconds * (2 if name == "day" else 1):
            count = int(total / size_seconds)
            return f"{count} {name}{'s' * (count > 1)}"
    return f"{total:.0f} s"


def number(value: object) -> str:
    """
    >>> number(0.97752), number(12345), number(None)
    ('0.9775', '12,345', '-')
    """
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def share(value: float | None) -> str:
    """A share of one in percent."""
    return "-" if value is None else f"{value:.1%}".replace("%", " %")


def seconds(value: float | None) -> str:
    """
    >>> seconds(75.2), seconds(3.21)
    ('1 min 15 s', '3.2 s')
    """
    if value is None:
        return "-"
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60)} s"


def person(by: str) -> str:
    """Who did it; what Airflow calls the ways in which a run begins, in words.

    >>> person("operator_triggered"), person("ana")
    ('the loop itself', 'ana')
    """
    return BEGINNINGS.get(by, by)


def size(value: float | None) -> str:
    """
    >>> size(73560)
    '73.6 kB'
    """
    if value is None:
        return "-"
    for least, unit in SIZES:
        if value >= least:
            return f"{value / least:.1f} {unit}"
    return f"{value:.0f} bytes"
