"""Values beyond two quantiles of the training rows become those quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, JsonValue, model_validator

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Params(Frozen):
    """outliers: {kind: clip, low: 0.01, high: 0.99}"""

    low: float = Field(0.01, ge=0, le=1, description="Share of the training rows below.")
    high: float = Field(0.99, ge=0, le=1, description="Share of the training rows below.")

    @model_validator(mode="after")
    def _low_is_lower(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self


def learn(params: Params, values: NDArray[np.float64]) -> dict[str, JsonValue]:
    """Between what values are clipped, {} or a list each: the two quantiles of each column.

    values: (n, columns), none of them NaN.
    """
    import numpy as np

    low, high = np.quantile(values, [params.low, params.high], axis=0)
    return {"low": low.tolist(), "high": high.tolist()}


def keep(params: Params, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Every row is trained on, clipped."""
    import numpy as np

    return np.ones(len(values), dtype=bool)
