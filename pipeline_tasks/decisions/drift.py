"""Have the inputs or answers drifted, in more than one window?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from pipeline_tasks.core.values import Answer, Verdict

NAMED, AMONG = 5, 3


class Found(Protocol):
    """What a detector says of one thing it compares; `name` is the same in every window."""

    @property
    def name(self) -> str: ...
    @property
    def is_enough(self) -> bool: ...
    @property
    def is_drift(self) -> bool: ...
    @property
    def reason(self) -> str: ...


def drift(
    windows: Sequence[Sequence[Found]], *, needed: int = 2, among: int = AMONG
) -> tuple[Verdict, tuple[str, ...]]:
    """Yes, and what has drifted: the same thing in `needed` of the last `among` windows.

    windows: findings by window, the newest last, all against the same reference. Those too small
    to be judged do not count among them; when the newest is, there is no verdict.
    """
    if not windows or not any(one.is_enough for one in windows[-1]):
        reasons = tuple(one.reason for one in (windows[-1] if windows else ())[:1])
        return Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=reasons or ("no predictions",)), ()
    judged = [window for window in windows if any(one.is_enough for one in window)][-among:]
    times = Counter(one.name for window in judged for one in window if one.is_drift)
    newest = {one.name: one for one in judged[-1]}
    drifted = tuple(name for name, count in times.most_common() if count >= needed)
    if drifted:
        said = [_of_windows(times[name], len(judged), newest, name) for name in drifted[:NAMED]]
        more = [f"and {len(drifted) - NAMED} more"] if len(drifted) > NAMED else []
        return Verdict(answer=Answer.YES, reasons=(*said, *more)), drifted
    reason = f"none of {len(newest)} has drifted in {needed} of the last {among} windows"
    once = [f"once: {newest[name].reason}" for name in times if newest[name].is_drift]
    return Verdict(answer=Answer.NO, reasons=(reason, *once[:NAMED])), ()


def _of_windows(count: int, windows: int, newest: dict[str, Found], name: str) -> str:
    reason = newest[name].reason if name in newest else name
    return f"{reason}, in {count} of the last {windows} windows"
