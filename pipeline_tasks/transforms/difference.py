"""One number less another, standardised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import scaling

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

TAKES = ("number",)


class Params(Frozen):
    """margin: {kind: difference, of: [price, cost]}"""

    of: tuple[str, str]


def learn(params: Params, columns: Sequence[NDArray[np.float64]]) -> dict[str, JsonValue]:
    """Mean and deviation of the difference; two columns (n,), none of them NaN."""
    return {**scaling.learn(columns[0] - columns[1])}


def apply(params: Params, known: Mapping[str, Any], columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """The difference of two columns float32 (n,) as (n, 1)."""
    return scaling.standardised(columns[0] - columns[1], known)[:, None]
