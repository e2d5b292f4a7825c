"""How far windows of an undrifted stream get from it by chance: blocks of the reference, drawn.

Rows that follow each other are alike, so that n of them are worth fewer. Windows of each size are
drawn from the reference in blocks (Kuensch, Annals of Statistics 17, 1989), all columns together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.summaries.distance import deviance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZES = (100, 200, 500, 1000, 2000, 5000, 10_000)
DRAWS = 1000
SEED = 20
UNIT = 25
# A block is so many times as long as rows stay alike, that what is cut at its ends matters little.
SPANS = 5
MOST_BLOCKS, FEWEST_BLOCKS = 200, 40
# Longer correlations are looked for among means, of which there are as many.
MOST_LAGS = 400
# 90 % and 99 % of the deviance of n independent rows, times n, where the order counts.
ORDERED_90, ORDERED_99 = 1.933, 3.878


class Law(Frozen):
    """One aspect's deviance times rows, by window size (SIZES): how it is distributed by chance.

    high: exceeded by one window in ten; alike: how many times that of independent rows, so many
    rows are worth one. fold: how much more each further e-th of these windows has.
    """

    alike: tuple[float, ...]
    high: tuple[float, ...]
    fold: tuple[float, ...]

    def at(self, rows: int) -> tuple[float, float, float]:
        """`alike`, `high` and `fold` of a window of so many rows."""
        return _between(rows, self.alike), _between(rows, self.high), _between(rows, self.fold)


class Calibration(Frozen):
    """Laws of all aspects, and the surprise that one undrifted window in many exceeds anywhere.

    rows: of the reference. block: rows in a block.
    """

    rows: int
    block: int
    limits: tuple[float, ...]
    laws: Mapping[str, Law]

    def limit(self, rows: int) -> float:
        """The surprise that a window of so many rows must exceed."""
        return _between(rows, self.limits)


class Counted(NamedTuple):
    """An aspect of a reference: counts by unit of rows, (units, cells)."""

    by_unit: NDArray[np.float32]
    is_ordered: bool


def calibrate(
    counted: Mapping[str, Counted], *, rows: int, alike: float, false_alarms: float
) -> Calibration:
    """From what a reference's rows, in the order of time, count by unit.

    alike: over how many rows they stay alike, see `span`. false_alarms: the
    share of undrifted windows in which any aspect may exceed its limit.
    """
    import numpy as np

    unit = unit_rows(rows)
    units = rows // unit
    block = _block_units(units, alike / unit)
    random = np.random.default_rng(SEED)
    limits: list[float] = []
    laws: dict[str, list[tuple[float, float, float]]] = {name: [] for name in counted}
    for size in SIZES:
        length = min(block, size // unit)
        blocks = units // length
        many = max(1, round(size / unit / length))
        picks = _picks(random, blocks, many)
        scale = many * length * unit * _few(blocks)
        most: Any = 0.0
        for name, (by_unit, is_ordered) in counted.items():
            total = by_unit.sum(axis=0)
            drawn = _drawn(by_unit, picks, length)
            scaled = scale * deviance(drawn, total, is_ordered=is_ordered)
            law = _law(scaled, *_independent(total, is_ordered))
            laws[name].append(law)
            most = np.maximum(most, surprise(scaled, law[1], law[2]))
        # Stretches shorter than a block resemble each other, and count for no more than the blocks.
        limits.append(_widened(float(np.quantile(most, 1 - false_alarms)), units // block))
    return Calibration(
        rows=rows,
        block=block * unit,
        limits=tuple(limits),
        laws={
            name: Law(alike=_column(one, 0), high=_column(one, 1), fold=_column(one, 2))
            for name, one in laws.items()
        },
    )


def unit_rows(rows: int) -> int:
    """Rows that are counted together: UNIT, or fewer where there would be too few blocks."""
    return max(1, min(UNIT, rows // FEWEST_BLOCKS))


def _block_units(units: int, alike: float) -> int:
    wanted = max(SPANS * alike, units / MOST_BLOCKS)
    return max(1, min(math.ceil(wanted), units // FEWEST_BLOCKS))


def surprise(scaled: Any, high: float, fold: float) -> Any:
    """The negative logarithm of the chance of a deviance, times rows, of this or more."""
    return math.log(10) + (scaled - high) / fold


def _picks(random: np.random.Generator, blocks: int, many: int) -> NDArray[np.float32]:
    """How often each block is in each drawn window, (DRAWS, blocks); none for single blocks."""
    import numpy as np

    if many == 1:
        return np.zeros((0, blocks), dtype=np.float32)
    return random.multinomial(many, np.full(blocks, 1 / blocks), size=DRAWS).astype(np.float32)


def _drawn(
    by_unit: NDArray[np.float32], picks: NDArray[np.float32], length: int
) -> NDArray[np.float32]:
    """Counts of the drawn windows, or of every stretch of a block's length, (windows, cells)."""
    import numpy as np

    if not len(picks):
        summed = np.cumsum(np.pad(by_unit, ((1, 0), (0, 0))), axis=0)
        return summed[length:] - summed[:-length]
    blocks = picks.shape[1]
    whole: NDArray[np.float32] = by_unit[: blocks * length].reshape(blocks, length, -1).sum(axis=1)
    return picks @ whole


def _few(blocks: int) -> float:
    """Blocks of a reference are nearer to it than to what it comes from."""
    return blocks / max(blocks - 1, 1)


def _law(scaled: NDArray[Any], high: float, fold: float) -> tuple[float, float, float]:
    """From drawn windows, and the law of independent rows: no stream is believed to vary less."""
    import numpy as np

    q90, q99 = np.quantile(scaled, (0.9, 0.99)).tolist()
    return max(q90 / high, 1.0), max(q90, high), max((q99 - q90) / math.log(10), fold)


def _independent(total: NDArray[Any], is_ordered: bool) -> tuple[float, float]:
    """The law of independent rows; the most deviant of several cells is chi-squared's largest."""
    if is_ordered:
        low, high = ORDERED_90, ORDERED_99
    else:
        free = max(int((total > 0).sum()) - 1, 1)
        low, high = (
            NormalDist().inv_cdf((1 + share ** (1 / free)) / 2) ** 2 for share in (0.9, 0.99)
        )
    return low, (high - low) / math.log(10)


def _widened(limit: float, blocks: int) -> float:
    """For a spread that is known from few blocks: Student's tail in place of the normal one."""
    return blocks / 2 * math.expm1(2 * limit / blocks)


def _between(rows: int, values: Sequence[float]) -> float:
    import numpy as np

    return float(np.interp(math.log(max(rows, 1)), np.log(SIZES), values))


def _column(rows: Sequence[tuple[float, ...]], index: int) -> tuple[float, ...]:
    return tuple(round(row[index], 4) for row in rows)


def span(scores: NDArray[np.float64]) -> float:
    """Over how many rows (m,) scores stay alike; 0 for independent ones.

    Twice the sum of autocorrelations, of single rows and of means of many, where a weak but long
    correlation stands out.
    """
    many = max(1, len(scores) // MOST_LAGS)
    means = scores[: len(scores) // many * many].reshape(-1, many).mean(axis=1)
    return max(_correlation_time(scores) - 1, many * (_correlation_time(means) - 1))


def _correlation_time(series: NDArray[np.float64]) -> float:
    """1 + 2 x the sum of autocorrelations, as far as five times that (Sokal, Monte Carlo, 1996)."""
    off = series - series.mean()
    power = float(off @ off)
    time = 1.0
    if power <= 0:
        return time
    for lag in range(1, min(len(off) // 10, MOST_LAGS)):
        time += 2 * float(off[lag:] @ off[:-lag]) / power
        if lag >= 5 * time:
            break
    return max(time, 1.0)
