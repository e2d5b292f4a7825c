"""May a candidate see traffic, by what it did when it was asked without any?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.sections.deployment import Deployment

Check = tuple[bool, str]


@dataclass(frozen=True)
class Measured:
    """What a server with the candidate in it did.

    problem: why it did not answer, or answered otherwise than the trained model; empty if it did
    not. memory_mb: what loading and asking added, NaN where that cannot be measured.
    """

    questions: int
    problem: str = ""
    nonfinite: int = 0
    largest_difference: float = 0.0
    latency_p99_ms: float = 0.0
    memory_mb: float = 0.0


def acceptance(rules: Deployment, found: Measured) -> Verdict:
    """Yes when it answers as the trained model did, with finite numbers, within the limits.

    >>> acceptance(Deployment(memory_mb=100), Measured(16, memory_mb=120.0)).reasons
    ('it takes 120 MB of memory, where 100 MB are the limit',)
    """
    checks = list(_checks(rules, found))
    faults = tuple(text for is_good, text in checks if not is_good)
    if faults:
        return Verdict(answer=Answer.NO, reasons=faults)
    return Verdict(answer=Answer.YES, reasons=tuple(text for _, text in checks))


def _checks(rules: Deployment, found: Measured) -> Iterator[Check]:
    if found.nonfinite:
        yield False, f"{found.nonfinite} of {found.questions} answers are NaN or infinite"
    elif found.problem:
        yield False, found.problem
    else:
        different = f"differ by {found.largest_difference:.1e} at most"
        yield True, f"{found.questions} answers {different}"
    limit = rules.latency_p99_ms
    text = f"99 of 100 requests take {found.latency_p99_ms:.3g} ms at most"
    is_late = found.latency_p99_ms > limit
    yield not is_late, text + (f", where {limit:g} ms are the limit" if is_late else "")
    limit = rules.memory_mb
    text = f"it takes {found.memory_mb:.0f} MB of memory"
    is_large = found.memory_mb > limit
    yield not is_large, text + (f", where {limit:g} MB are the limit" if is_large else "")
