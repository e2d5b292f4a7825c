"""Which columns the model lives on: what shuffling one of them costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipeline_tasks import metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]
    Answerer = Callable[[Columns], NDArray[Any]]

SEED = 21
REPEATS = 3
# Rows shuffled for one column, and rows answered for all of them together.
ROWS, LEAST_ROWS, ANSWERED = 2_000, 100, 120_000


def importance(
    part: ModuleType, truth: NDArray[Any], columns: Columns, answer: Answerer
) -> dict[str, dict[str, float]]:
    """By column: how much worse the metric gets when its values are shuffled, and the spread.

    Permutation importance (Breiman, Machine Learning 45 (2001)) with three shuffles; positive is
    worse, whatever the metric's direction. Most important first. Nothing for one column alone:
    without it every model only guesses.
    """
    import numpy as np

    if len(columns) < 2:
        return {}
    chosen = sample(len(truth), _rows(len(columns)))
    truth = truth[chosen]
    columns = {name: values[chosen] for name, values in columns.items()}
    sign = 1.0 if part.HIGHER_IS_BETTER else -1.0
    before = part.compute(truth, metrics.taken(part.NEEDS, answer(columns)))
    random = np.random.default_rng(SEED)
    found: dict[str, dict[str, float]] = {}
    for name in columns:
        orders = np.concatenate([random.permutation(len(truth)) for _ in range(REPEATS)])
        answers = np.split(answer(_shuffled(columns, name, orders)), REPEATS)
        after = [part.compute(truth, metrics.taken(part.NEEDS, one)) for one in answers]
        losses = sign * (before - np.array(after))
        found[name] = {"mean": float(losses.mean()), "spread": float(losses.std())}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]["mean"]))


def sample(rows: int, most: int) -> NDArray[Any]:
    """The indices of at most so many rows, at even distances."""
    import numpy as np

    return np.linspace(0, rows - 1, min(rows, most)).round().astype(int)


def _rows(columns: int) -> int:
    return max(LEAST_ROWS, min(ROWS, ANSWERED // (columns * REPEATS)))


def _shuffled(columns: Columns, name: str, orders: NDArray[Any]) -> Columns:
    import numpy as np

    rows = np.tile(np.arange(len(orders) // REPEATS), REPEATS)
    return {key: values[orders if key == name else rows] for key, values in columns.items()}
