"""Numbers brought to mean 0 and deviation 1: learned from training rows, applied in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray


def learn(values: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Mean and population deviation (1 where all values are the same) of (n,) numbers.

    >>> import numpy as np
    >>> learn(np.array([1.0, 3.0]))
    {'mean': 2.0, 'scale': 1.0}
    """
    if not len(values):
        return {"mean": 0.0, "scale": 1.0}
    scale = float(values.std(dtype="float64"))
    return {"mean": float(values.mean(dtype="float64")), "scale": scale or 1.0}


def standardised(values: tf.Tensor, known: Mapping[str, Any]) -> tf.Tensor:
    """The numbers, float32 of any shape, with the learned mean and deviation taken out."""
    return (values - known["mean"]) / known["scale"]
