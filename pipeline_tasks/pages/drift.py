"""Drift as a table, feature by window, and one of its cells in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote

from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.quality import reports_of
from pipeline_tasks.pages.reading import Look

MOST_WINDOWS = 40
MOST_SEARCHED = 4 * MOST_WINDOWS
MOST_BINS = 24


@dataclass(frozen=True)
class Shares:
    """How rows are distributed over cells: in the reference, and in the window."""

    names: Sequence[object]
    reference: Sequence[float]
    current: Sequence[float]

    @property
    def count(self) -> int:
        """Cells that there are rows in, then or now."""
        return sum(map(any, zip(self.reference, self.current, strict=True)))

    @property
    def merged(self) -> Shares:
        """Neighbouring cells put together until they are few enough to be seen.

        >>> Shares("ab", (0.5, 0.5), (0.25, 0.75)).merged
        Shares(names=['a', 'b'], reference=[0.5, 0.5], current=[0.25, 0.75])
        """
        each = -(-len(self.names) // MOST_BINS)
        ends = [slice(start, start + each) for start in range(0, len(self.names), each)]
        return Shares(
            [self.names[end][-1] for end in ends],
            [sum(self.reference[end]) for end in ends],
            [sum(self.current[end]) for end in ends],
        )


@dataclass(frozen=True)
class Finding:
    """What one look says of one feature. effect, floor: how large the change is and must be.

    times: how many times what matters, where the detector says so itself.
    shares: None where they were not kept.
    """

    name: str
    test: str
    rows: int
    effect: float
    floor: float | None
    is_enough: bool
    is_drift: bool
    reason: str
    times: float | None = None
    shares: Shares | None = None

    @property
    def is_empty(self) -> bool:
        """Then and now all rows are alike, as they are where none can be missing: an image's."""
        return self.shares is not None and self.shares.count < 2

    @property
    def strength(self) -> int:
        """0 to 4: none to many times what matters; for the colour of a cell."""
        if not self.is_enough:
            return 0
        times = self.times
        if times is None:
            times = self.effect / self.floor if self.floor else self.effect * 10
        return sum(times >= step for step in (0.5, 1, 2, 4))


class Column(NamedTuple):
    """One look: its id, when it was, and its id as part of an address."""

    id: str
    at: str
    path: str


@dataclass(frozen=True)
class HeatMap:
    """findings: by feature, and by the look's id."""

    looks: Sequence[Look]
    features: Sequence[str]
    findings: Mapping[tuple[str, str], Finding]

    def at(self, feature: str, look: Look) -> Finding | None:
        """One cell."""
        return self.findings.get((feature, look.id))

    @cached_property
    def columns(self) -> list[Column]:
        """The looks, with what every cell below one says."""
        return [Column(look.id, look.at[:16], quote(look.id, safe="")) for look in self.looks]

    def row(self, feature: str) -> Iterator[tuple[Column, Finding | None]]:
        """A feature's cells."""
        return ((one, self.findings.get((feature, one.id))) for one in self.columns)


def heat_map(files: Files, looks: Sequence[Look]) -> HeatMap:
    """The newest looks that compared something; the features with the most drift first.

    A feature without a single value, such as the missing ones of an image, is left out.
    """
    shown = dict(islice(_compared(files, looks[-MOST_SEARCHED:]), MOST_WINDOWS))
    found = {
        (finding.name, look): finding
        for look, (_, findings) in shown.items()
        for finding in findings
    }
    worst = {name: 0 for (name, _), one in found.items() if not one.is_empty}
    for (name, _), one in found.items():
        if name in worst:
            worst[name] += one.strength
    features = sorted(worst, key=lambda name: (-worst[name], name))
    return HeatMap([look for look, _ in reversed(shown.values())], features, found)


def _compared(
    files: Files, looks: Sequence[Look]
) -> Iterator[tuple[str, tuple[Look, list[Finding]]]]:
    """The looks that have findings, the newest first; as many at once as may be shown."""
    for end in range(len(looks), 0, -MOST_WINDOWS):
        batch = looks[max(0, end - MOST_WINDOWS) : end][::-1]
        for look, report in zip(batch, reports_of(files, batch), strict=True):
            findings = [_finding(one) for one in report.get("drift") or []]
            if findings:
                yield look.id, (look, findings)


def _finding(one: Mapping[str, Any]) -> Finding:
    aspect = one.get("aspect", "values")
    name = one.get("name") or (
        one["feature"] if aspect == "values" else f"{one['feature']} {aspect}"
    )
    is_drift = bool(one["is_drift"]) if "is_drift" in one else _is_drift(one)
    return Finding(
        name=name,
        test=one.get("test") or "block bootstrap of the reference",
        rows=one.get("rows", 0),
        effect=one["effect"],
        floor=one.get("floor"),
        is_enough=one.get("is_enough", True),
        is_drift=is_drift,
        reason=one.get("reason") or _reason(one, is_drift=is_drift),
        times=one.get("strength"),
        shares=_shares(one),
    )


def _is_drift(one: Mapping[str, Any]) -> bool:
    is_large = one["effect"] >= one["floor"]
    return bool(one["is_enough"] and one["statistic"] > one["threshold"] and is_large)


def _reason(one: Mapping[str, Any], *, is_drift: bool) -> str:
    """Why it did or did not count, of a record that does not say it itself."""
    if "p_value" in one:
        beside = f"p {one['p_value']:.2g}, significant below {one['threshold']:.2g}"
        is_significant = one["p_value"] < one["threshold"]
    else:
        beside = f"surprise {one['statistic']:.1f}, significant above {one['threshold']:.1f}"
        is_significant = one["statistic"] > one["threshold"]
    size = one.get("unit") or f"{one['effect']:.2f}"
    if is_drift:
        return f"drifted by {size}: significant, and large enough to matter ({beside})"
    if is_significant:
        return f"changed by {size}: significant, but too little to matter ({beside})"
    return f"changed by {size}, as it may by chance ({beside})"


def _shares(one: Mapping[str, Any]) -> Shares | None:
    names = one.get("bins") or ()
    old, new = one.get("reference_shares") or (), one.get("current_shares") or ()
    return Shares(names, old, new) if names and len(names) == len(old) == len(new) else None
