"""Cohorts: a champion's predictions by the hour in which they were made, and how many have a label.

What collecting has counted is carried from look to look in the artifact `looked`, so that a look
costs its own rows. It holds what was counted before its run as well: a run that is retried begins
where it began.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field, ValidationError

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.values import Champion, Frozen
from pipeline_tasks.monitoring.counters import Snapshot
from pipeline_tasks.run import Run
from pipeline_tasks.sections.production import Monitoring

log = logging.getLogger(__name__)

LOOKED = "looked"
HOUR = len("2026-01-31T13")
SHOWN = 72


class Cohort(Frozen):
    """The predictions of one hour in UTC, and those of them that have a label."""

    hour: str
    predictions: int = 0
    labelled: int = 0

    @property
    def end(self) -> str:
        """The moment after which a prediction belongs to the next one.

        >>> Cohort(hour="2026-01-31T23").end
        '2026-02-01T00:00:00.000Z'
        """
        begin = datetime.fromisoformat(f"{self.hour}:00:00+00:00")
        return clock.text(begin + timedelta(hours=1))

    @property
    def completeness(self) -> float:
        """The share of its predictions that have a label."""
        return min(1.0, self.labelled / self.predictions) if self.predictions else 0.0


class Looked(Frozen):
    """Everything counted so far, of one champion since it was promoted.

    prepared_at: when its rows were prepared. until: up to when predictions and labels are counted.
    counted_at: when the servers' counters were what `counters` says.
    """

    promoted_at: str = ""
    prepared_at: str = ""
    until: str = ""
    predictions: int = 0
    labelled: int = 0
    cohorts: tuple[Cohort, ...] = ()
    newest_label_at: str = ""
    counted_at: str = ""
    counters: dict[str, Snapshot] = Field(default_factory=dict)

    @property
    def completeness(self) -> float | None:
        """The share of all predictions that have a label; None where there is no prediction."""
        return round(min(1.0, self.labelled / self.predictions), 4) if self.predictions else None


class _Kept(Frozen):
    before: Looked
    after: Looked


def looked(run: Run, champion: Champion | None, since: str) -> Looked:
    """What had been counted before this run. Of another champion, only of labels and the server.

    since: from when on to count where nothing was.
    """
    found = _read(run)
    promoted_at = champion.promoted_at if champion else ""
    if found.promoted_at == promoted_at and found.until:
        return found
    kept = {"newest_label_at", "counted_at", "counters"}
    return Looked(promoted_at=promoted_at, until=since, **found.model_dump(include=kept))


def keep(run: Run, before: Looked, after: Looked, *, judged_until: str) -> None:
    """Let the next look go on from here, with the cohorts that it needs."""
    after = after.model_copy(update={"cohorts": needed(after.cohorts, judged_until)})
    with run.write(LOOKED) as draft:
        text = _Kept(before=before, after=after).model_dump_json(indent=1)
        (draft.folder / "looked.json").write_text(text)
    run.store.set_latest(draft.done())


def counted(
    before: Looked, *, until: str, predictions: Mapping[str, int], labelled: Mapping[str, int]
) -> Looked:
    """With more predictions by hour, and more of them labelled for the first time."""
    cohorts = {one.hour: one for one in before.cohorts}
    for hour, count in predictions.items():
        one = cohorts.get(hour) or Cohort(hour=hour)
        cohorts[hour] = one.model_copy(update={"predictions": one.predictions + count})
    for hour, count in labelled.items():
        if known := cohorts.get(hour):
            cohorts[hour] = known.model_copy(update={"labelled": known.labelled + count})
    return before.model_copy(
        update={
            "until": max(before.until, until),
            "predictions": before.predictions + sum(predictions.values()),
            "labelled": before.labelled + sum(labelled.values()),
            "cohorts": tuple(cohorts[hour] for hour in sorted(cohorts)),
        }
    )


def needed(cohorts: Sequence[Cohort], judged_until: str) -> tuple[Cohort, ...]:
    """Those that are not judged yet, and the latest to be shown."""
    latest = cohorts[-SHOWN:]
    return tuple(one for one in cohorts if one.end > judged_until or one in latest)


def by_hour(times: Any) -> dict[str, int]:
    """How many of the moments, an Arrow array, are in each hour."""
    from pyarrow import compute

    hours = compute.value_counts(compute.utf8_slice_codeunits(times, 0, HOUR))
    return {one["values"]: one["counts"] for one in hours.to_pylist()}


def shown(cohorts: Sequence[Cohort]) -> str:
    """As cohorts.json has them."""
    told = [one.model_dump() | {"completeness": round(one.completeness, 4)} for one in cohorts]
    return json.dumps(told, indent=1)


def matured(settings: Monitoring, until: str) -> str:
    """The end of the latest cohort that is mature at a moment; "" where none has to be.

    >>> matured(Monitoring(matures_after_minutes=90), "2026-01-31T13:45:00.000Z")
    '2026-01-31T12:00:00.000Z'
    """
    if not settings.matures_after_minutes:
        return ""
    moment = clock.parse(until) - timedelta(minutes=settings.matures_after_minutes)
    return clock.text(moment.replace(minute=0, second=0, microsecond=0))


def _read(run: Run) -> Looked:
    ref = run.store.latest(run.config.name, LOOKED)
    if ref is None:
        return Looked()
    try:
        found = _Kept.model_validate_json((run.open(ref) / "looked.json").read_bytes())
    except (ArtifactError, ValidationError) as error:
        log.warning("labels are counted anew, as what was counted cannot be read: %s", error)
        return Looked()
    return found.before if ref.run == run.id else found.after
