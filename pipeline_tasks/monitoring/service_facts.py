"""How the server does, as window.json says it: what it counted since the last look, its size."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pipeline_tasks.core import clock
from pipeline_tasks.core.artifact import read_manifest
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.values import Champion, Scalar
from pipeline_tasks.monitoring import counters
from pipeline_tasks.monitoring.cohorts import Looked
from pipeline_tasks.release.releasing import Target
from pipeline_tasks.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

Facts = dict[str, Scalar]
PERCENTILES = (50, 95, 99)
COUNTED = (
    "requests",
    "requests_per_minute",
    "error_share",
    "queue_refusals",
    "refused_requests",
    "log_dropped_rows",
)


def service(run: Run, before: Looked) -> tuple[Facts, Looked]:
    """The facts, and what the next look counts on from.

    requests: of every version; error_share: of them, those that are no client's mistake, as in a
    canary. queue_refusals: those refused because too many waited. refused_requests: what the whole
    server turned away at its door, as too much or too slow. log_dropped_rows: rows answered that
    the log could not keep. Of several servers the sum, the largest memory, and whether all answer.
    Null without an earlier look, and while none answers: the next look then counts from the last
    one at which it did. Targets that count nothing have null everywhere.
    """
    facts: Facts = dict.fromkeys((*COUNTED, "server_memory_mb", "server_is_answering"))
    target = Target(run)
    if target.unwatched:
        return facts, before
    texts, moment = target.counters(), clock.text(clock.now())
    facts["server_is_answering"] = len(texts) == len(run.servers)
    if not texts:
        return facts, before
    sizes = [size for text in texts.values() if (size := counters.memory_megabytes(text))]
    facts["server_memory_mb"] = max(sizes, default=None)
    now = {server: counters.read(text, run.config.name) for server, text in texts.items()}
    if before.counters:
        minutes = (clock.parse(moment) - clock.parse(before.counted_at)).total_seconds() / 60
        sums: dict[str, float] = {}
        for server, one in now.items():
            sums = counters.added(sums, before.counters.get(server), one)
        facts |= _counted(sums, minutes)
    counted = {"counters": before.counters | now, "counted_at": moment}
    return facts, before.model_copy(update=counted)


def _counted(sums: dict[str, float], minutes: float) -> Facts:
    statuses = counters.statuses(sums)
    requests = sum(statuses.values())
    errors = sum(n for status, n in statuses.items() if status not in counters.NO_FAULTS)
    return {
        "requests": requests,
        "requests_per_minute": round(requests / minutes, 3) if minutes > 0 else None,
        "error_share": errors / requests if requests else None,
        "queue_refusals": statuses.get(counters.FULL, 0),
        "refused_requests": counters.refused(sums),
        "log_dropped_rows": counters.log_dropped(sums),
    }


def ages(looked: Looked, until: str) -> Facts:
    """Hours since the champion was promoted, its rows were prepared, and the last label arrived."""
    moments = {
        "model_age_hours": looked.promoted_at,
        "training_data_age_hours": looked.prepared_at,
        "newest_label_age_hours": looked.newest_label_at,
    }
    return {name: _hours(since, until) if since else None for name, since in moments.items()}


def prepared_at(run: Run, champion: Champion) -> str:
    """When the rows it was trained on were prepared; "" where that artifact is gone."""
    try:
        return read_manifest(run.open(champion.prepared)).made_at
    except ArtifactError as error:
        log.warning("how old the champion's rows are is not known: %s", error)
        return ""


def latencies(milliseconds: NDArray[np.float64]) -> Facts:
    """Percentiles of the window's latencies; null without any."""
    import numpy as np

    known = milliseconds[np.isfinite(milliseconds)]
    values = np.percentile(known, PERCENTILES).round(3).tolist() if len(known) else [None] * 3
    return {f"latency_p{p}_ms": value for p, value in zip(PERCENTILES, values, strict=True)}


def _hours(since: str, until: str) -> float:
    return round((clock.parse(until) - clock.parse(since)).total_seconds() / 3600, 3)
