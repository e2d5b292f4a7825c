"""Earlier looks at production: what a new one goes on from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import MonitoringRecord
from pipeline_tasks.monitoring.drifting import Seen
from pipeline_tasks.run import Run

log = logging.getLogger(__name__)

REPORT = "report.json"


def before(run: Run, version: int | None) -> list[MonitoringRecord]:
    """Looks of other runs at this version, oldest first: a retried run does not go on from itself.

    None of them is from before the champion was promoted last.
    """
    champion = run.store.champion(run.config.name)
    since = champion.promoted_at if champion else ""
    records = run.store.monitoring(run.config.name)
    return [
        one for one in records if one.version == version and one.id != run.id and one.at > since
    ]


def is_used_up(record: MonitoringRecord, kind: str) -> bool:
    """The next window of predictions, or labels, began after this one's rather than with it."""
    mark: str = getattr(record, f"{kind}_watermark")
    return record.numbers.get(f"{kind}_watermark") == mark


def report(run: Run, record: MonitoringRecord) -> Any:
    """A look's report.json; None where its artifact is no longer there."""
    try:
        return read_json(run.open(record.report) / REPORT)
    except (ArtifactError, FileNotFoundError) as error:
        log.warning("the report of look %s cannot be read: %s", record.id, error)
        return None


def findings(run: Run, records: Sequence[MonitoringRecord], among: int) -> list[list[Seen]]:
    """What the last few windows showed, oldest first; each row is in one of them."""
    used = [one for one in records if is_used_up(one, "prediction")]
    found = list(_with(run, used, "drift", among))
    return [[Seen(*(one[key] for key in Seen._fields)) for one in each] for each in reversed(found)]


def charts(run: Run, records: Sequence[MonitoringRecord]) -> Any:
    """Where the control charts of errors were after the last labels that were used up."""
    used = [one for one in records if is_used_up(one, "label")]
    found = next(_with(run, used, "charts", 1), None)
    return found["state"] if found else None


def _with(run: Run, records: Sequence[MonitoringRecord], key: str, most: int) -> Iterator[Any]:
    """This part of the newest reports that have it, the newest first."""
    for record in reversed(records):
        if not most:
            return
        if part := (report(run, record) or {}).get(key):
            most -= 1
            yield part
