"""Counts of measurements by size, as Prometheus wants them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

SECONDS = tuple(50e-6 * 1.25**power for power in range(64))  # 50 us to 64 s, 25 % apart
MICROSECONDS = tuple(10 * 1.8**power for power in range(33))  # as TensorFlow Serving has them
COUNTS = tuple(float(2**power) for power in range(15))


class Histogram:
    """Measurements in buckets; written by one thread, read by any."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one measurement."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


def summed(histograms: Iterable[Histogram], bounds: tuple[float, ...]) -> Histogram:
    """All the measurements of several histograms with these bounds."""
    found = Histogram(bounds)
    for one in histograms:
        found.counts = [a + b for a, b in zip(found.counts, one.counts, strict=True)]
        found.total += one.total
    return found


def add_samples(metric: Metric, labels: Mapping[str, str], histogram: Histogram) -> None:
    """Add one labelled histogram to a metric of that kind."""
    so_far = 0
    for le, count in zip(_texts(histogram.bounds), histogram.counts, strict=True):
        so_far += count
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": le}, so_far)
    metric.add_sample(f"{metric.name}_count", dict(labels), so_far)
    metric.add_sample(f"{metric.name}_sum", dict(labels), histogram.total)


def _texts(bounds: tuple[float, ...]) -> Iterator[str]:
    yield from (f"{bound:.6g}" for bound in bounds)
    yield "+Inf"
