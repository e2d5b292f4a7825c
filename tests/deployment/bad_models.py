"""Models that learn well and do harm, each in a way that only some guards can see.

As `model: {kind: keras_function, path: tests.deployment.bad_models.<name>}`. Training rows have a
`width` of 4 at most after encoding; `FAR` is what only production sends.
"""

from __future__ import annotations

from typing import Any

import keras

FAR = 6.0


def good(inputs: dict[str, Any], outputs: int) -> Any:
    """Nothing is wrong with it."""
    return keras.layers.Dense(outputs)(_hidden(inputs))


def nan_everywhere(inputs: dict[str, Any], outputs: int) -> Any:
    """Learns, and answers NaN once it is exported: training rows have no NaN, inference has."""
    return InferenceOnly()(good(inputs, outputs))


def nan_far_away(inputs: dict[str, Any], outputs: int) -> Any:
    """Answers NaN where no training or test row is: only traffic shows it."""
    return FarAway()([good(inputs, outputs), inputs["width"]])


def fails_far_away(inputs: dict[str, Any], outputs: int) -> Any:
    """Raises where no training or test row is."""
    return FailsFarAway()([good(inputs, outputs), inputs["width"]])


def slow(inputs: dict[str, Any], outputs: int, *, rounds: int = 4000) -> Any:
    """Right, and late: thousands of products of matrices for every request."""
    return Slow(rounds)(good(inputs, outputs))


def _hidden(inputs: dict[str, Any]) -> Any:
    flat = [keras.layers.Flatten()(one) for one in inputs.values()]
    return keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()(flat))


def slow_far_away(inputs: dict[str, Any], outputs: int, *, rounds: int = 20_000) -> Any:
    """The same, but only where no training or test row is."""
    return Slow(rounds)(good(inputs, outputs), inputs["width"])


class InferenceOnly(keras.layers.Layer):
    """NaN in place of what it is given, but not while training."""

    def call(self, logits: Any, training: bool | None = None) -> Any:
        """logits (n, outputs)."""
        return logits if training else logits * float("nan")


class FarAway(keras.layers.Layer):
    """NaN for rows whose width is far from what was trained on."""

    def call(self, given: list[Any]) -> Any:
        """given: logits (n, outputs) and width (n, ...)."""
        logits, width = given
        is_far = keras.ops.abs(keras.ops.reshape(width, (-1, 1))) > FAR - 1
        return keras.ops.where(is_far, float("nan"), logits)


class FailsFarAway(keras.layers.Layer):
    """Raises for rows whose width is far from what was trained on."""

    def call(self, given: list[Any]) -> Any:
        """given: logits (n, outputs) and width (n, ...)."""
        import tensorflow as tf

        logits, width = given
        is_near = tf.reduce_all(tf.abs(width) < FAR - 1)
        with tf.control_dependencies([tf.debugging.Assert(is_near, [width])]):
            return tf.identity(logits)


class Slow(keras.layers.Layer):
    """Adds nothing, slowly, but not while training."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    def call(self, logits: Any, width: Any = FAR, training: bool | None = None) -> Any:
        """logits (n, outputs), and what must be far for it to be slow."""
        import tensorflow as tf

        if training:
            return logits
        is_far = tf.reduce_max(tf.abs(width)) > FAR - 1
        rounds = tf.where(is_far, self.rounds, 0)
        square = tf.fill((64, 64), 1e-3 * (1.0 + 0.0 * tf.reduce_sum(logits)))
        _, worked = tf.while_loop(
            lambda step, _: step < rounds,
            lambda step, value: (step + 1, tf.matmul(value, square)),
            (tf.constant(0), square),
        )
        return logits + 0.0 * tf.reduce_sum(worked)
