"""What the server counts, as Prometheus text: TensorFlow Serving's names beside our own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pipeline_tasks.serving.histogram import (
    COUNTS,
    MICROSECONDS,
    SECONDS,
    Histogram,
    add_samples,
    summed,
)
from pipeline_tasks.serving.versions.servable import AVAILABLE
from pipeline_tasks.serving.versions.watched import Versions

TENSORFLOW = ":tensorflow:serving:"
SLOW = "slow"
REASONS = ("connections", "requests", "bytes", SLOW)


@dataclass
class Counts:
    """Of one version of one model, since the process began."""

    requests: Counter[str] = field(default_factory=Counter)  # by status
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    rows: int = 0
    nonfinite_rows: int = 0
    shadow_rows: int = 0
    shadow_disagreements: int = 0
    shadow_errors: int = 0
    shadow_dropped: int = 0


ROWS = {
    "rows": "Rows answered.",
    "nonfinite_rows": "Rows answered with a NaN or an infinity.",
    "shadow_rows": "Rows answered in the background, beside the default version.",
    "shadow_disagreements": "Of these, rows that the default version answered otherwise.",
    "shadow_errors": "Rows that failed in the background.",
    "shadow_dropped": "Rows not asked in the background, because too many were waiting.",
}


class Metrics:
    """Counts of one server process; written on the event loop's thread.

    refused: by reason, what was more or slower than the limits allow, so that no model was asked.
    """

    def __init__(
        self,
        *,
        log_counts: Callable[[], tuple[int, int]],
        versions: Versions,
    ) -> None:
        self._versions: defaultdict[tuple[str, int], Counts] = defaultdict(Counts)
        self._requests: Counter[tuple[str, str]] = Counter()
        self.refused = Counter(dict.fromkeys(REASONS, 0))
        self._latency: dict[tuple[str, str, str], Histogram] = {}
        self._examples: dict[str, Histogram] = {}
        self._log_counts, self._served = log_counts, versions
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def of(self, model: str, version: int) -> Counts:
        """The counts of one version, to add to."""
        return self._versions[model, version]

    def observe(self, model: str, verb: str, entrypoint: str, status: str, seconds: float) -> None:
        """Count one request of a model the server knows, whoever answered it."""
        self._requests[model, status] += 1
        key = model, verb, entrypoint
        if key not in self._latency:
            self._latency[key] = Histogram(MICROSECONDS)
        self._latency[key].add(seconds * 1e6)

    def observe_examples(self, model: str, rows: int) -> None:
        """Count the rows of one answered request."""
        if model not in self._examples:
            self._examples[model] = Histogram(COUNTS)
        self._examples[model].add(rows)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' client asks for."""
        yield from self._ours()
        yield from self._tensorflows()
        yield from self._loaded()
        what = "Connections and requests beyond the server's limits, by the limit."
        refusals = CounterMetricFamily("perennial_refusals", what, labels=["reason"])
        for reason, count in self.refused.items():
            refusals.add_metric([reason], count)
        yield refusals
        written, dropped = self._log_counts()
        yield CounterMetricFamily("prediction_log_rows", "Rows logged.", value=written)
        yield CounterMetricFamily("prediction_log_dropped", "Rows not logged.", value=dropped)
        if mirror := self._served.mirror:
            what = "Times the models' bucket could not be followed."
            yield CounterMetricFamily("perennial_mirror_failures", what, value=mirror.failures)

    def _ours(self) -> Iterator[Metric]:
        found = [({"model": m, "version": str(v)}, c) for (m, v), c in list(self._versions.items())]
        requests = Metric("perennial_requests", "Requests by version and status.", "counter")
        seconds = Metric(
            "perennial_request_seconds", "Seconds from decoding to answer.", "histogram"
        )
        for labels, counts in found:
            for status, count in counts.requests.items():
                requests.add_sample("perennial_requests_total", {**labels, "status": status}, count)
            add_samples(seconds, labels, counts.seconds)
        yield requests
        yield seconds
        for name, what in ROWS.items():
            metric = Metric(f"perennial_{name}", what, "counter")
            for labels, counts in found:
                metric.add_sample(f"perennial_{name}_total", labels, getattr(counts, name))
            yield metric

    def _tensorflows(self) -> Iterator[Metric]:
        name = f"{TENSORFLOW}request_count"
        requests = Metric(name, "Requests by model and status.", "unknown")
        for (model, status), count in self._requests.items():
            requests.add_sample(name, {"model_name": model, "status": status}, count)
        yield requests
        latency = Metric(f"{TENSORFLOW}request_latency", "Microseconds of a request.", "histogram")
        for (model, verb, entrypoint), found in self._latency.items():
            labels = {"model_name": model, "API": verb, "entrypoint": entrypoint}
            add_samples(latency, labels, found)
        yield latency
        sizes = Metric(f"{TENSORFLOW}request_example_counts", "Rows of a request.", "histogram")
        name = f"{TENSORFLOW}request_example_count_total"
        total = Metric(name, "Rows of all requests.", "unknown")
        for model, counts in self._examples.items():
            add_samples(sizes, {"model": model}, counts)
            total.add_sample(name, {"model": model}, counts.total)
        yield from (sizes, total)
        name = f"{TENSORFLOW}request_log_count"
        logged = Metric(name, "Rows logged.", "unknown")
        logged.add_sample(name, {"status": "OK"}, self._log_counts()[0])
        yield logged

    def _loaded(self) -> Iterator[Metric]:
        """What the models that are loaded now say of themselves."""
        runtime = Metric(f"{TENSORFLOW}runtime_latency", "Microseconds of a batch.", "histogram")
        waited = Metric(
            f"{TENSORFLOW}batching_session:queuing_latency", "Microseconds waited.", "histogram"
        )
        name = f"{TENSORFLOW}model_warmup_latency"
        warm_up = Metric(name, "Microseconds of the last warm-up.", "unknown")
        served = GaugeMetricFamily("served_version", "Version that answers.", labels=["model"])
        invalid = GaugeMetricFamily(
            "perennial_desired_state_invalid",
            "1 while desired.json cannot be read and the last good one is in force.",
            labels=["model"],
        )
        states = GaugeMetricFamily(
            "perennial_version_available", "1 while it answers.", labels=["model", "version"]
        )
        for model, table in self._served.tables().items():
            loaded = [one for slot in table.slots.values() if (one := slot.model)]
            asked = [one for model in loaded for one in model.signatures.values()]
            labels = {"model_name": model, "API": "predict", "runtime": "TF2"}
            add_samples(runtime, labels, summed((s.runtime for s in asked), MICROSECONDS))
            add_samples(
                waited, {"model_name": model}, summed((s.waited for s in asked), MICROSECONDS)
            )
            for one in loaded:
                labels = {"model_path": f"{model}/{one.version}", "status": "OK"}
                warm_up.add_sample(name, labels, one.warm_up_seconds * 1e6)
            if table.default is not None:
                served.add_metric([model], table.default)
            invalid.add_metric([model], float(bool(table.problem)))
        for model in self._served.tables():
            for version, state in self._served.states_of(model).items():
                states.add_metric([model, str(version)], float(state.state == AVAILABLE))
        yield from (runtime, waited, warm_up, served, invalid, states)
