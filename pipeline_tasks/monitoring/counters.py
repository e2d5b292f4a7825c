"""What a server counts, looked at again and again: sums that survive the server's restarts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.decisions.release import Counts, Shadow

STARTED = "process_start_time_seconds"
OURS = "perennial_"
BUCKET = "perennial_request_seconds_bucket"
# A client's mistake, or a model that cannot take what a client may send: only a comparison tells.
REFUSED = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION"}
# What the batcher answers when too many rows wait.
FULL = "UNAVAILABLE"
LOG_DROPPED = "prediction_log_dropped_total"
REFUSALS = "perennial_refusals_total"
MEMORY = "process_resident_memory_bytes"
NO_FAULTS = {"OK", "NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED", "CANCELLED", *REFUSED}


class Snapshot(Frozen):
    """The counters of one model at one moment. started: when the server's process began."""

    started: float
    values: dict[str, float]


def read(text: str, model: str) -> Snapshot:
    """The counters of `model` in Prometheus' text format; keys are name|version|status or bound.

    What the log has dropped and the server has refused is counted of the whole server.
    """
    from prometheus_client.parser import text_string_to_metric_families

    started, values = math.nan, {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == STARTED:
                started = sample.value
            elif sample.name == LOG_DROPPED:
                values[f"{LOG_DROPPED}||"] = sample.value
            elif sample.name == REFUSALS:
                values[f"{REFUSALS}||{sample.labels['reason']}"] = sample.value
            elif sample.name.startswith(OURS) and sample.labels.get("model") == model:
                labels = sample.labels
                detail = labels.get("status") or labels.get("le") or ""
                values[f"{sample.name}|{labels.get('version', '')}|{detail}"] = sample.value
    return Snapshot(started=started, values=values)


def added(sums: Mapping[str, float], before: Snapshot | None, now: Snapshot) -> dict[str, float]:
    """The sums with what was counted since `before`; a server that restarted began again at 0.

    >>> old, new = (Snapshot(started=1, values={"a": value}) for value in (5, 7))
    >>> added({"a": 10}, old, new)
    {'a': 12.0}
    >>> added({"a": 10}, old, Snapshot(started=2, values={"a": 6}))
    {'a': 16.0}
    >>> added({}, None, new)
    {}
    """
    if before is None:
        return dict(sums)
    is_same = before.started == now.started
    found = dict(sums)
    for key, value in now.values.items():
        earlier = before.values.get(key, 0.0) if is_same else 0.0
        # A counter that fell has begun again, whatever the process says of its start.
        found[key] = sums.get(key, 0.0) + (value - earlier if value >= earlier else value)
    return found


def memory_megabytes(text: str) -> float | None:
    """The server's resident memory, from its metrics.

    >>> memory_megabytes("process_resident_memory_bytes 2.5e+06")
    2.5
    """
    found = [line.split()[1] for line in text.splitlines() if line.startswith(MEMORY)]
    return round(float(found[0]) / 1e6, 1) if found else None


def statuses(sums: Mapping[str, float]) -> dict[str, int]:
    """Requests by status, of all versions together."""
    found: dict[str, int] = {}
    for key, value in sums.items():
        name, _, status = key.split("|")
        if name == "perennial_requests_total":
            found[status] = found.get(status, 0) + round(value)
    return found


def log_dropped(sums: Mapping[str, float]) -> int:
    """Rows that the log could not keep."""
    return round(sums.get(f"{LOG_DROPPED}||", 0))


def refused(sums: Mapping[str, float]) -> int:
    """Connections and requests beyond the server's limits."""
    return round(sum(value for key, value in sums.items() if key.startswith(f"{REFUSALS}|")))


def counts(sums: Mapping[str, float], version: int) -> Counts:
    """What one version did, as decisions take it."""
    requests = dict(_details(sums, "perennial_requests_total", version))
    return Counts(
        requests=round(sum(requests.values())),
        errors=round(sum(n for status, n in requests.items() if status not in NO_FAULTS)),
        refused=round(sum(n for status, n in requests.items() if status in REFUSED)),
        rows=_sum(sums, "perennial_rows_total", version),
        nonfinite=_sum(sums, "perennial_nonfinite_rows_total", version),
        latencies=_latencies(sums, version),
    )


def shadow(sums: Mapping[str, float], version: int) -> tuple[Shadow, int]:
    """What champion and candidate both answered, and the candidate's failed rows."""
    return Shadow(
        rows=_sum(sums, "perennial_shadow_rows_total", version),
        disagreements=_sum(sums, "perennial_shadow_disagreements_total", version),
    ), _sum(sums, "perennial_shadow_errors_total", version)


def _latencies(sums: Mapping[str, float], version: int) -> dict[float, int]:
    """Requests by bucket, from counts that are cumulative over the buckets."""
    found = sorted((float(le), n) for le, n in _details(sums, BUCKET, version))
    before, buckets = 0.0, {}
    for bound, cumulative in found:
        buckets[bound] = round(cumulative - before)
        before = cumulative
    return buckets


def _details(sums: Mapping[str, float], name: str, version: int) -> Iterator[tuple[str, float]]:
    for key, value in sums.items():
        found, of, detail = key.split("|")
        if (found, of) == (name, str(version)):
            yield detail, value


def _sum(sums: Mapping[str, float], name: str, version: int) -> int:
    return round(sum(value for _, value in _details(sums, name, version)))
