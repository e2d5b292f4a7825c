"""What the server counts, as Prometheus text: TensorFlow Serving's names beside our own."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

BUCKETS_US = [10 * 1.8**power for power in range(33)]
STATUS_NAMES = {200: "OK", 400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "INVALID_ARGUMENT"}
STATUS_NAMES |= {500: "INTERNAL", 503: "UNAVAILABLE"}


class Metrics:
    """Counts of one server process; written and read on the event loop's thread."""

    def __init__(
        self, *, log_counts: Callable[[], tuple[int, int]], versions: Callable[[], dict[str, int]]
    ) -> None:
        self._requests: Counter[tuple[str, str]] = Counter()
        self._latency: dict[str, tuple[list[int], list[float]]] = {}
        self._log_counts = log_counts
        self._versions = versions
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def observe(self, model: str, status: int, seconds: float) -> None:
        """Count one predict request of a model the server knows."""
        self._requests[model, STATUS_NAMES.get(status, "UNKNOWN")] += 1
        counts, total = self._latency.setdefault(model, ([0] * (len(BUCKETS_US) + 1), [0.0]))
        counts[bisect.bisect_left(BUCKETS_US, seconds * 1e6)] += 1
        total[0] += seconds * 1e6

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' client asks for."""
        yield self._tensorflow_requests()
        yield self._tensorflow_latency()
        written, dropped = self._log_counts()
        yield CounterMetricFamily("prediction_log_rows", "Rows logged.", value=written)
        yield CounterMetricFamily("prediction_log_dropped", "Rows not logged.", value=dropped)
        versions = GaugeMetricFamily("served_version", "Version that answers.", labels=["model"])
        for model, version in self._versions().items():
            versions.add_metric([model], version)
        yield versions

    def _tensorflow_requests(self) -> Metric:
        name = ":tensorflow:serving:request_count"
        metric = Metric(name, "Requests by model and status.", "unknown")
        for (model, status), count in self._requests.items():
            metric.add_sample(name, {"model_name": model, "status": status}, count)
        return metric

    def _tensorflow_latency(self) -> Metric:
        name = ":tensorflow:serving:request_latency"
        metric = Metric(name, "Microseconds a request took.", "histogram")
        for model, (counts, total) in self._latency.items():
            labels = {"model_name": model, "API": "predict", "entrypoint": "REST"}
            so_far = 0
            for bound, count in zip([*BUCKETS_US, float("inf")], counts, strict=True):
                so_far += count
                le = "+Inf" if bound == float("inf") else f"{bound:.6g}"
                metric.add_sample(f"{name}_bucket", labels | {"le": le}, so_far)
            metric.add_sample(f"{name}_count", labels, so_far)
            metric.add_sample(f"{name}_sum", labels, total[0])
        return metric
