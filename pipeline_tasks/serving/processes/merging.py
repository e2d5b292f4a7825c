"""The replies of several worker processes as those of one server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pipeline_tasks.serving.versions.servable import AVAILABLE, END, LOADING, START, UNLOADING

# Where a sum says nothing: who answers, since when, how long a warm-up took.
LEAST = {"served_version", "perennial_version_available", "process_start_time_seconds"}
MOST = {
    "perennial_desired_state_invalid",
    "process_max_fds",
    ":tensorflow:serving:model_warmup_latency",
}
LAST_TO_FIRST = [AVAILABLE, END, UNLOADING, LOADING, START]  # a version is as far as its last


def merged_metrics(texts: Iterable[bytes]) -> bytes:
    """Prometheus text: sums over the workers, but where the least or the most counts.

    >>> one = b"# TYPE rows_total counter\\nrows_total{model=\\"m\\"} 2.0\\n"
    >>> print(merged_metrics([one, one]).decode().splitlines()[-1])
    rows_total{model="m"} 4.0
    """
    metrics: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            metrics.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            found = values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                before = [found[key]] if key in found else []
                found[key] = _merged(family.name, before, sample.value)
    for name, metric in metrics.items():
        for (sample_name, labels), value in values[name].items():
            metric.add_sample(sample_name, dict(labels), value)
    registry = CollectorRegistry()
    registry.register(_Metrics(metrics.values()))
    return generate_latest(registry)


def merged_states(replies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """TensorFlow Serving's status reply: each version as far as the worker that is least far.

    A worker that does not know a version has yet to begin with it, or has begun after its end.

    >>> status = {"version": "2", "state": "AVAILABLE"}
    >>> merged_states([{"model_version_status": [status]}, {"model_version_status": []}])
    {'model_version_status': [{'version': '2', 'state': 'START'}]}
    """
    found: dict[str, dict[str, Any]] = {}
    known: Counter[str] = Counter()
    for reply in replies:
        for one in reply["model_version_status"]:
            before = found.get(one["version"], one)
            found[one["version"]] = max(before, one, key=_order)
            known[one["version"]] += 1
    for version, one in found.items():
        if known[version] < len(replies) and one["state"] in (AVAILABLE, LOADING):
            found[version] = {**one, "state": START}
    return {"model_version_status": [found[v] for v in sorted(found, key=int, reverse=True)]}


class _Metrics:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _merged(name: str, before: list[float], value: float) -> float:
    if name in LEAST:
        return min([*before, value])
    if name in MOST:
        return max([*before, value])
    return sum([*before, value])


def _order(status: dict[str, Any]) -> int:
    return LAST_TO_FIRST.index(status["state"])
