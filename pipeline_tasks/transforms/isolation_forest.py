"""Training rows that random cuts set apart from the others quickly are noise, and left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Params(Frozen):
    """outliers: {kind: isolation_forest, share: 0.01}"""

    share: float = Field(0.01, gt=0, le=0.5, description="Of the training rows, left out.")
    trees: int = Field(100, ge=1, le=10_000)
    seed: int = Field(7, ge=0)


def learn(params: Params, values: NDArray[np.float64]) -> dict[str, JsonValue]:
    """No bounds: a client's row is answered, however odd it is."""
    return {}


def keep(params: Params, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the training rows are trained on, (n,) (Liu, Ting and Zhou, ICDM 2008).

    values: (n, columns), none of them NaN.
    """
    import numpy as np
    from sklearn.ensemble import IsolationForest

    if not len(values):
        return np.ones(0, dtype=bool)
    forest = IsolationForest(
        n_estimators=params.trees, contamination=params.share, random_state=params.seed
    )
    kept: NDArray[np.bool_] = forest.fit_predict(values) == 1
    return kept
