"""The moving average of the weights: steadier than the last step's, at no cost in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class Average:
    """Exponential moving average of a model's weights, bias-corrected as Adam's moments are.

    decay: share of the average that a step keeps; 0 averages nothing. (Polyak and Juditsky, SIAM
    J. Control Optim. 30, 1992; the correction: Kingma and Ba, ICLR 2015.)
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        import keras

        self._decay = decay
        self._weights = [one for one in model.weights if decay and "float" in one.dtype]
        self.variables = [
            keras.Variable(keras.ops.zeros(one.shape), trainable=False) for one in self._weights
        ]
        self._steps = keras.Variable(0.0, trainable=False)
        self.variables += [self._steps] if decay else []

    def update(self, steps: tf.Tensor) -> None:
        """Take the weights after one more step in. steps: how many there have been."""
        for mine, current in zip(self.variables, self._weights, strict=False):
            mine.assign(mine * self._decay + current * (1.0 - self._decay))
        if self._decay:
            self._steps.assign(steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside the block, and its own after it."""
        own = [variable.numpy() for variable in self._weights]
        if self._decay and float(self._steps):
            correction = 1.0 - self._decay ** float(self._steps)
            for current, mine in zip(self._weights, self.variables, strict=False):
                current.assign(mine / correction)
        try:
            yield
        finally:
            for current, value in zip(self._weights, own, strict=True):
                current.assign(value)
