"""Quality without labels: how often the champion's own confidence says that it is right.

Right only while the answers mean what they meant: the world that moves without its inputs moving is
not seen. So an estimate is shown with its band, and is never the only reason to act.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.summaries import cells
from pipeline_tasks.summaries.cells import Cells, Placed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

BAND_Z = 1.96
STEPS = 200
ROUNDS, RATE, FEWEST = 20, 0.3, 20


class Calibrated(Frozen):
    """The share of right answers by confidence: steps that never fall.

    starts: the confidence at which each step begins. shares: of the right ones; rows: held-out rows
    behind each.
    """

    starts: tuple[float, ...]
    shares: tuple[float, ...]
    rows: tuple[int, ...]


class Estimated(Frozen):
    """A metric that was not measured, and the 95 % band of what labels would show."""

    value: float
    low: float
    high: float
    rows: int


class Effect(Frozen):
    """What a column's cells add to the expected error.

    spread: the mean square of what is left, by cell; rows: held-out rows in it.
    """

    cells: Cells
    added: tuple[float, ...]
    spread: tuple[float, ...]
    rows: tuple[int, ...]


class ErrorModel(Frozen):
    """The error expected of a row: a mean, and what each column adds to it."""

    mean: float
    effects: dict[str, Effect]


class Estimator(Frozen):
    """estimate.json: what estimates a model's quality, and of how many held-out rows.

    value: of those rows themselves. calibrated: for classes; errors: for a number.
    """

    metric: str
    value: float
    rows: int
    calibrated: Calibrated | None = None
    errors: ErrorModel | None = None

    @classmethod
    def learn(cls, columns: Columns, truth: NDArray[Any], answer: NDArray[Any]) -> Estimator:
        """From held-out rows: columns as for drift, and probabilities (n, classes) or values (n,).

        Of a number the metric is the mean absolute error, of classes the accuracy.
        """
        if answer.ndim == 1:
            errors = abs(answer - truth).astype(float)
            model = learn_errors(columns, errors)
            return cls(metric="mae", value=float(errors.mean()), rows=len(truth), errors=model)
        is_right = answer.argmax(axis=1) == truth
        found = calibrate(_confidence(answer), is_right)
        share = float(is_right.mean())
        return cls(metric="accuracy", value=share, rows=len(truth), calibrated=found)

    def estimate(self, columns: Columns, answer: NDArray[Any]) -> Estimated | None:
        """The metric to be expected of these rows; None where there are none."""
        if not len(answer):
            return None
        if self.errors is not None:
            return estimate_error(self.errors, columns)
        assert self.calibrated is not None
        return estimate_accuracy(self.calibrated, _confidence(answer))


def calibrate(confidence: NDArray[Any], is_right: NDArray[Any]) -> Calibrated:
    """From held-out rows: confidence (n,) of the answer given, and whether it was right (n,).

    Isotonic regression of the shares in bins of equally many rows (pool adjacent violators: Ayer et
    al., Annals of Mathematical Statistics 26, 1955).
    """
    import numpy as np

    order = np.argsort(confidence, kind="stable")
    pools: list[tuple[float, float, int]] = []
    for rows in np.array_split(order, min(STEPS, len(order))):
        pools.append((float(confidence[rows[0]]), float(is_right[rows].sum()), len(rows)))
        while len(pools) > 1 and pools[-2][1] * pools[-1][2] >= pools[-1][1] * pools[-2][2]:
            _, right, count = pools.pop()
            start, right_before, count_before = pools.pop()
            pools.append((start, right_before + right, count_before + count))
    return Calibrated(
        starts=tuple(start for start, _, _ in pools),
        shares=tuple(right / count for _, right, count in pools),
        rows=tuple(count for _, _, count in pools),
    )


def estimate_accuracy(calibrated: Calibrated, confidence: NDArray[Any]) -> Estimated:
    """The accuracy to be expected of (n,) answers, n at least 1.

    The band is of the number of right ones, a Poisson-binomial one (Le Cam, Pacific Journal of
    Mathematics 10, 1960), widened by what the held-out rows leave open.
    """
    import numpy as np

    steps = np.searchsorted(calibrated.starts, confidence, side="right") - 1
    counts = np.bincount(np.maximum(steps, 0), minlength=len(calibrated.starts))
    weights = counts / len(confidence)
    shares, known = np.array(calibrated.shares), np.array(calibrated.rows)
    # Half a row of each kind added: no confidence has shown that it is never wrong.
    likely = (shares * known + 0.5) / (known + 1)
    chance = likely * (1 - likely)
    by_rows = float((weights * chance).sum()) / len(confidence)
    by_reference = float((weights**2 * chance / known).sum())
    return _estimated(float((weights * shares).sum()), by_rows + by_reference, len(confidence), 1.0)


def learn_errors(columns: Columns, errors: NDArray[Any]) -> ErrorModel:
    """From held-out rows: columns as for drift, the answer among them, and absolute errors (n,).

    Additive over the columns' cells, fitted in rounds to what is left (Lou, Caruana and Gehrke,
    "Intelligible models for classification and regression", KDD 2012).
    """
    import numpy as np

    learned = {name: cells.learn(values) for name, values in columns.items()}
    placed = {name: one.place(columns[name]) for name, one in learned.items()}
    mean = float(errors.mean())
    left = errors.astype(np.float64) - mean
    added = {name: np.zeros(one.size) for name, one in learned.items()}
    for _ in range(ROUNDS):
        for name, (rows, at) in placed.items():
            size = learned[name].size
            counts = np.bincount(at, minlength=size)
            sums = np.bincount(at, left[rows], minlength=size)
            step = RATE * sums / (counts + FEWEST)
            added[name] += step
            left -= np.bincount(rows, step[at], minlength=len(left))
    effects = {
        name: _effect(learned[name], values, placed[name], left) for name, values in added.items()
    }
    return ErrorModel(mean=mean, effects=effects)


def estimate_error(model: ErrorModel, columns: Columns) -> Estimated:
    """The mean absolute error to be expected of these rows, at least one, with its band.

    A column that is no longer there, or of another kind, says nothing.
    """
    import numpy as np

    rows = len(next(iter(columns.values())))
    value, spread, of_model = model.mean, 0.0, 0.0
    for name, effect in model.effects.items():
        if name not in columns or not cells.fits(effect.cells, columns[name]):
            continue
        weights = effect.cells.count(columns[name]) / rows
        spreads, known = np.array(effect.spread), np.array(effect.rows)
        value += float(weights @ np.array(effect.added))
        # The column that tells most about how errors scatter stands for all.
        spread = max(spread, float(weights @ spreads))
        of_model += float(weights**2 @ (spreads / (known + 1)))
    return _estimated(max(value, 0.0), spread / rows + of_model, rows, float("inf"))


def _confidence(answer: NDArray[Any]) -> NDArray[Any]:
    """Of each answer; one that is no number is not confident at all."""
    import numpy as np

    found: NDArray[Any] = np.nan_to_num(answer.max(axis=1), nan=0.0)
    return found


def _effect(
    learned: Cells, added: NDArray[np.float64], placed: Placed, left: NDArray[np.float64]
) -> Effect:
    """The spread of cells with few rows is drawn to that of all."""
    import numpy as np

    counts = np.bincount(placed.cells, minlength=learned.size)
    squares = np.bincount(placed.cells, left[placed.rows] ** 2, minlength=learned.size)
    spread = (squares + FEWEST * float((left**2).mean())) / (counts + FEWEST)
    return Effect(
        cells=learned,
        added=tuple(added.tolist()),
        spread=tuple(spread.tolist()),
        rows=tuple(counts.tolist()),
    )


def _estimated(value: float, variance: float, rows: int, most: float) -> Estimated:
    reach = BAND_Z * variance**0.5
    low, high = max(value - reach, 0.0), min(value + reach, most)
    return Estimated(value=value, low=low, high=high, rows=rows)
