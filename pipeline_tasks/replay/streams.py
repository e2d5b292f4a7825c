"""Rows in the order of time: generated, from a CSV file, or from a pipeline's source."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Labels = NDArray[np.int64]

log = logging.getLogger(__name__)
ROWS, SEA_THRESHOLDS, SEA_NOISE = 50_000, (8.0, 9.0, 7.0, 9.5), 0.1
FEATURES, TURN_DEGREES, HYPERPLANE_NOISE = 10, 90.0, 0.05
GENERATED_BLOCK, DAY = 250, 48
BLOCKS, LEAST_BLOCKS, FIRST_BLOCKS = 200, 20, 10


@dataclass(frozen=True)
class Stream:
    """Inputs (rows, features), finite, and the index of each row's class, in the order of time.

    block_rows: what is answered before its labels come, called a day. first_rows: what the first
    model is trained on. changes: rows at which it is known to change. seed: of a generated one.
    """

    name: str
    inputs: Matrix
    labels: Labels
    block_rows: int
    first_rows: int
    changes: tuple[int, ...] = ()
    seed: int | None = None

    @property
    def starts(self) -> range:
        """The first row of each block after the first model's rows."""
        return range(self.first_rows, len(self.labels), self.block_rows)


def sea(seed: int, rows: int = ROWS) -> Stream:
    """Three numbers, of which two decide by their sum; the limit changes 3 times, 10 % are noise.

    Street and Kim, "A streaming ensemble algorithm (SEA) for large-scale classification", KDD 2001.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    inputs = random.uniform(0, 10, (rows, 3))
    part = rows // len(SEA_THRESHOLDS)
    limits = np.array(SEA_THRESHOLDS)[np.minimum(np.arange(rows) // part, 3)]
    labels = _noisy(random, inputs[:, 0] + inputs[:, 1] <= limits, SEA_NOISE)
    changes = tuple(part * number for number in range(1, len(SEA_THRESHOLDS)))
    return _generated("sea", seed, inputs, labels, changes)


def hyperplane(seed: int, rows: int = ROWS) -> Stream:
    """Ten numbers, divided by a plane that turns by a quarter from first to last; 5 % are noise.

    Hulten, Spencer and Domingos, "Mining time-changing data streams", KDD 2001.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    inputs = random.uniform(-1, 1, (rows, FEATURES))
    plane, _ = np.linalg.qr(random.normal(size=(FEATURES, 2)))
    angle = np.radians(TURN_DEGREES) * np.arange(rows) / rows
    side = inputs @ plane[:, 0] * np.cos(angle) + inputs @ plane[:, 1] * np.sin(angle)
    return _generated("hyperplane", seed, inputs, _noisy(random, side > 0, HYPERPLANE_NOISE), ())


GENERATED: dict[str, Callable[[int], Stream]] = {"sea": sea, "hyperplane": hyperplane}


def electricity(path: Path) -> Stream:
    """The New South Wales electricity market (Harries 1999): the price rises or not, 48 a day."""
    return of_csv(path, name="electricity", label="class", block_rows=DAY)


def of_csv(
    path: Path, *, name: str = "", label: str | None = None, block_rows: int | None = None
) -> Stream:
    """A CSV file with a header; the label is its last column unless named.

    Columns that are no numbers become one column for each of their values. Raises DataError.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"{path}: cannot be read as CSV: {error}",
            expected="a header line and rows in the order of time",
            fix="name a file that is there: a path that ends in .csv, or --data PATH",
        ) from error
    if frame.columns.empty or (label is not None and label not in frame.columns):
        raise DataError(
            f"{path}: there is no column {label!r}",
            expected=f"one of {', '.join(map(str, frame.columns))}",
            fix="name the label's column by --label",
        )
    key = label or str(frame.columns[-1])
    codes, classes = pd.factorize(frame[key], sort=True)
    if len(classes) > _most_classes(len(frame)):
        raise DataError(
            f"{path}: the label {key!r} has {len(classes)} different values in {len(frame)} rows",
            expected="a few classes",
            fix="name the label's column by --label",
        )
    return of_rows(name or path.stem, frame.drop(columns=key), codes, block_rows)


def of_rows(
    name: str, inputs: pd.DataFrame, labels: NDArray[np.integer[Any]], block_rows: int | None
) -> Stream:
    """Rows in their order; those without a label (-1) are left out. Raises DataError if too few."""
    import numpy as np

    known = labels >= 0
    inputs, codes = inputs[known], np.asarray(labels[known], dtype=np.int64)
    block = block_rows or max(LEAST_BLOCKS, len(codes) // BLOCKS)
    first = max(FIRST_BLOCKS * block, min(2000, len(codes) // 20) // block * block)
    if len(codes) < first + LEAST_BLOCKS * block:
        raise DataError(
            f"{name}: {len(codes)} labelled rows are too few to live through",
            expected=f"{first + LEAST_BLOCKS * block} at least: {first} for the first model and "
            f"{LEAST_BLOCKS} blocks of {block}",
            fix="take more rows, or smaller blocks by --block-rows",
        )
    if len(np.unique(codes)) < 2:
        raise DataError(f"{name}: all rows have the same label", expected="two classes at least")
    return Stream(name, _numbers(name, inputs, first), codes, block, first)


def _numbers(name: str, inputs: pd.DataFrame, first: int) -> Matrix:
    """Numbers, missing ones as the first rows' median; categories as a column for each value."""
    import numpy as np
    import pandas as pd

    parts = []
    for key in inputs:
        values = inputs[key]
        if pd.api.types.is_numeric_dtype(values):
            finite = values.astype(float).where(np.isfinite(values.astype(float)))
            middle = finite[:first].median()
            parts.append(finite.fillna(0.0 if pd.isna(middle) else middle).to_numpy()[:, None])
        elif (different := sorted(values[:first].dropna().unique())) and len(different) <= 50:
            parts.append(np.stack([(values == one).to_numpy(float) for one in different], axis=1))
        else:
            log.info("%s: %s is left out: it is neither numbers nor a category", name, key)
    if not parts:
        raise DataError(f"{name}: no column has numbers or categories", expected="one at least")
    joined: Matrix = np.concatenate(parts, axis=1)
    return joined


def _most_classes(rows: int) -> int:
    return min(100, max(2, rows // 20))


def _generated(
    name: str, seed: int, inputs: Matrix, labels: Labels, changes: tuple[int, ...]
) -> Stream:
    first = FIRST_BLOCKS * GENERATED_BLOCK
    return Stream(name, inputs, labels, GENERATED_BLOCK, first, changes, seed)


def _noisy(random: np.random.Generator, labels: NDArray[np.bool_], share: float) -> Labels:
    return (labels ^ (random.random(len(labels)) < share)).astype(int)


def check_seeds(text: str) -> tuple[int, ...]:
    """Seeds as the command line has them: `1,2,3`. Raises ConfigError."""
    try:
        seeds = tuple(int(one) for one in next(csv.reader([text])))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0:
        raise ConfigError(f"--seeds {text}: not whole numbers", expected="such as 1,2,3")
    return seeds
