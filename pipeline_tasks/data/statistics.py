"""What a column's values are like, a slice of rows at a time: parts merge into the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.data import rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from pydantic import JsonValue

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP = 20
DIFFERENT = 10_000
ROWS_AT_ONCE = 250_000
PIECE = 65_536
# The bits of a float64 that are cut off: sign, exponent and five bits of the fraction remain.
CUT = 47


@dataclass(frozen=True)
class Bins:
    """A histogram with bins as wide as 1/32 of their place at most, so that it needs no range.

    places: the leading bits of the numbers in a bin, as a signed whole number, ascending.
    """

    places: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float64], times: NDArray[np.int64] | None = None) -> Bins:
        """The bins of (n,) finite numbers; times: how often each is there, unless it is once."""
        import numpy as np

        bits = np.abs(values).view(np.int64) >> CUT
        signed = np.where(values < 0, ~bits, bits)
        if not len(signed):
            return cls(signed, signed)
        least = int(signed.min())
        counts = np.bincount(signed - least, times).astype(np.int64, copy=False)
        found = np.flatnonzero(counts)
        return cls(found + least, counts[found])

    def merge(self, other: Bins) -> Bins:
        """The bins of both: exactly those of all values together."""
        import numpy as np

        places = np.union1d(self.places, other.places)
        counts = np.zeros(len(places), dtype=np.int64)
        for one in (self, other):
            counts[np.searchsorted(places, one.places)] += one.counts
        return Bins(places, counts)

    def quantile(self, share: float) -> float:
        """A number that this share of the values lies below; off by 1.6 % of itself at most."""
        import numpy as np

        reached = np.searchsorted(np.cumsum(self.counts), share * self.counts.sum())
        place = int(self.places[min(int(reached), len(self.places) - 1)])
        size = ~place if place < 0 else place
        edges = np.array([size, size + 1], dtype=np.int64) << CUT
        middle = float(edges.view(np.float64).mean())
        return -middle if place < 0 else middle


@dataclass(frozen=True)
class Numbers:
    """Moments, bounds and quantiles of numbers; `squares` is the sum of squared deviations."""

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    bins: Bins | None = None

    @classmethod
    def of(cls, values: NDArray[Any]) -> Numbers:
        """Of (n,) numbers; NaN is missing. Infinite ones are left to the schema."""
        import numpy as np

        if values.dtype == np.uint8:
            return cls.counted(np.arange(256.0), _counted_bytes(values))
        numbers = values.astype(np.float64, copy=False)
        known = numbers[np.isfinite(numbers)]
        missing = int(np.isnan(numbers).sum()) if len(known) < len(numbers) else 0
        if not len(known):
            return cls(missing=missing)
        mean = float(known.mean())
        return cls(
            count=len(known),
            missing=missing,
            mean=mean,
            squares=float(np.square(known - mean).sum()),
            minimum=float(known.min()),
            maximum=float(known.max()),
            bins=Bins.of(known),
        )

    @classmethod
    def counted(cls, values: NDArray[np.float64], times: NDArray[np.int64]) -> Numbers:
        """Of (n,) finite numbers, each of which is there so often."""
        import numpy as np

        values, times = values[times > 0], times[times > 0]
        if not len(values):
            return cls()
        mean = float(np.average(values, weights=times))
        return cls(
            count=int(times.sum()),
            mean=mean,
            squares=float(np.dot(times, np.square(values - mean))),
            minimum=float(values.min()),
            maximum=float(values.max()),
            bins=Bins.of(values, times),
        )

    def merge(self, other: Numbers) -> Numbers:
        """Of both parts together (Chan, Golub and LeVeque, STAN-CS-79-773, 1979, pairwise)."""
        if not self.count or not other.count:
            some = self if self.count else other
            return replace(some, missing=self.missing + other.missing)
        count, gap = self.count + other.count, other.mean - self.mean
        return Numbers(
            count=count,
            missing=self.missing + other.missing,
            mean=self.mean + gap * other.count / count,
            squares=self.squares + other.squares + gap * gap * self.count * other.count / count,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            bins=self.bins.merge(other.bins) if self.bins and other.bins else None,
        )

    @property
    def variance(self) -> float:
        """The mean squared deviation."""
        return self.squares / self.count if self.count else 0.0

    def as_json(self) -> dict[str, JsonValue]:
        """What statistics.json says."""
        if not self.count or self.bins is None:
            return {"count": 0, "missing": self.missing}
        return {
            "count": self.count,
            "missing": self.missing,
            "mean": self.mean,
            "variance": self.variance,
            "min": self.minimum,
            "max": self.maximum,
            "quantiles": {f"{share:g}": self.quantile(share) for share in QUANTILES},
        }

    def quantile(self, share: float) -> float:
        """A number that this share of the values lies below, between the least and the greatest."""
        between = self.bins.quantile(share) if self.bins else self.mean
        return min(max(between, self.minimum), self.maximum)


@dataclass(frozen=True)
class Texts:
    """How often each text is there; the frequent ones alone where too many differ.

    unsure: by how much a count may be too low, 0 as long as all are counted.
    """

    count: int = 0
    missing: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    unsure: int = 0
    characters: Numbers = Numbers()

    @classmethod
    def of(cls, values: pd.Series[Any]) -> Texts:
        """Of (n,) texts; null is missing."""
        known = values.dropna()
        counted = known.value_counts()
        counts = {str(text): int(count) for text, count in counted.items()}
        return cls(
            count=len(known),
            missing=len(values) - len(known),
            counts=counts,
            characters=_lengths(counts),
        )._reduced()

    def merge(self, other: Texts) -> Texts:
        """Of both parts together (mergeable summaries: Agarwal et al., PODS 2012)."""
        counts = dict(self.counts)
        for text, count in other.counts.items():
            counts[text] = counts.get(text, 0) + count
        return Texts(
            count=self.count + other.count,
            missing=self.missing + other.missing,
            counts=counts,
            unsure=self.unsure + other.unsure,
            characters=self.characters.merge(other.characters),
        )._reduced()

    def _reduced(self) -> Texts:
        """Misra and Gries' rule (1982): the count of the first one too many is taken from all."""
        if len(self.counts) <= DIFFERENT:
            return self
        taken = sorted(self.counts.values(), reverse=True)[DIFFERENT]
        counts = {text: count - taken for text, count in self.counts.items() if count > taken}
        return replace(self, counts=counts, unsure=self.unsure + taken)

    def as_json(self) -> dict[str, JsonValue]:
        """What statistics.json says; `top`: the most frequent texts with their counts."""
        top = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
        return {
            "count": self.count,
            "missing": self.missing,
            "different": None if self.unsure else len(self.counts),
            "counts_are_low_by_at_most": self.unsure,
            "top": {text[:200]: count for text, count in top},
            "characters": self.characters.as_json(),
        }


@dataclass(frozen=True)
class Statistics:
    """The statistics of every column, images by their pixels, and of the label."""

    columns: Mapping[str, Numbers | Texts]

    @classmethod
    def of(cls, frame: pd.DataFrame, config: PipelineConfig) -> Statistics:
        """Of the frame's rows, a slice at a time."""
        return reduce(cls.merge, (cls._of_slice(part, config) for part in slices(frame)))

    @classmethod
    def _of_slice(cls, frame: pd.DataFrame, config: PipelineConfig) -> Statistics:
        columns: dict[str, Numbers | Texts] = {}
        for name, column in config.columns.items():
            if column.type == "image":
                pixels = frame[rows.pixels(name, column)].to_numpy()
                columns[name] = Numbers.of(pixels.reshape(-1))
            elif column.is_text:
                columns[name] = Texts.of(frame[name])
            else:
                columns[name] = Numbers.of(frame[name].to_numpy())
        label = frame[config.label.name]
        is_number = config.task == "regression"
        columns[config.label.name] = (
            Numbers.of(label.to_numpy()) if is_number else Texts.of(_as_classes(label))
        )
        return cls(columns)

    def merge(self, other: Statistics) -> Statistics:
        """Of the rows of both."""
        pairs = {name: (mine, other.columns[name]) for name, mine in self.columns.items()}
        return Statistics({name: _merged(*pair) for name, pair in pairs.items()})

    def as_json(self) -> dict[str, JsonValue]:
        """What statistics.json says, by column."""
        return {name: column.as_json() for name, column in self.columns.items()}


def slices(frame: pd.DataFrame, size: int = ROWS_AT_ONCE) -> Iterator[pd.DataFrame]:
    """The frame's rows, some at a time; one empty slice when there are none."""
    for start in range(0, max(len(frame), 1), size):
        yield frame.iloc[start : start + size]


def _merged(one: Numbers | Texts, other: Numbers | Texts) -> Numbers | Texts:
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        return one.merge(other)
    assert isinstance(one, Texts)
    assert isinstance(other, Texts)
    return one.merge(other)


def _as_classes(label: pd.Series[Any]) -> pd.Series[Any]:
    """Numbered classes without the .0 that a CSV file's numbers have."""
    return label.astype("int64") if label.dtype.kind == "f" and label.notna().all() else label


def _counted_bytes(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each is there; in pieces that stay in the cache, at a fifteenth of the cost."""
    import numpy as np

    pieces = range(0, len(values), PIECE)
    counts = [np.bincount(values[start : start + PIECE], minlength=256) for start in pieces]
    return np.sum(counts, axis=0, dtype=np.int64) if counts else np.zeros(256, dtype=np.int64)


def _lengths(counts: Mapping[str, int]) -> Numbers:
    import numpy as np

    sizes = np.array([len(text) for text in counts], dtype=np.float64)
    return Numbers.counted(sizes, np.array(list(counts.values()), dtype=np.int64))
