"""Tukey's fences: beyond the quartiles by more than so many times their distance is an outlier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Params(Frozen):
    """outliers: {kind: iqr, distance: 1.5, rows: clip}"""

    distance: float = Field(1.5, gt=0, description="Times the distance between the quartiles.")
    rows: Literal["clip", "drop"] = Field(
        "clip", description="clip: to the fence, also when serving; drop: not trained on."
    )


def learn(params: Params, values: NDArray[np.float64]) -> dict[str, JsonValue]:
    """Where the fences of each column are (Tukey, Exploratory Data Analysis, 1977).

    values: (n, columns), none of them NaN.
    """
    if params.rows == "drop":
        return {}
    low, high = _fences(params, values)
    return {"low": low.tolist(), "high": high.tolist()}


def keep(params: Params, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the training rows are trained on, (n,)."""
    import numpy as np

    if params.rows == "clip":
        return np.ones(len(values), dtype=bool)
    low, high = _fences(params, values)
    inside: NDArray[np.bool_] = ((values >= low) & (values <= high)).min(axis=1)
    return inside


def _fences(
    params: Params, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    lower, upper = np.quantile(values, [0.25, 0.75], axis=0)
    reach = params.distance * (upper - lower)
    return lower - reach, upper + reach
