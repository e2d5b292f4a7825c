"""One number divided by another, within what training rows have shown, standardised."""

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
    """rooms_a_person: {kind: ratio, of: [rooms, people]}"""

    of: tuple[str, str]


def learn(params: Params, columns: Sequence[NDArray[np.float64]]) -> dict[str, JsonValue]:
    """Least and greatest ratio, mean and deviation; two columns (n,), none of them NaN."""
    import numpy as np

    above, below = columns
    ratios = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    low, high = (float(ratios.min()), float(ratios.max())) if len(ratios) else (0.0, 0.0)
    return {"low": low, "high": high, **scaling.learn(ratios)}


def apply(params: Params, known: Mapping[str, Any], columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """The ratio of two columns float32 (n,) as (n, 1); where one divides by zero, that of zero."""
    import tensorflow as tf

    ratio = tf.math.divide_no_nan(*columns)
    return scaling.standardised(tf.clip_by_value(ratio, known["low"], known["high"]), known)[
        :, None
    ]
