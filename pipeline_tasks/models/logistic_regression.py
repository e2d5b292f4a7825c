"""Logistic regression: the log-odds of a class are linear in the encoded columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import keras

TASKS = ("binary", "multiclass")


class Params(Frozen):
    """Its one setting.

    model: {kind: logistic_regression, l2: 0.001}
    """

    l2: float = Field(0.0, ge=0, description="Weight of the squared weights in the loss.")


def build(params: Params, inputs: dict[str, keras.KerasTensor], outputs: int) -> keras.KerasTensor:
    """Logits (n, outputs) over these inputs, each (n, ...) float32; all begin at 0."""
    import keras

    flat = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    top = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    penalty = keras.regularizers.L2(params.l2) if params.l2 else None
    return keras.layers.Dense(
        outputs, name="logits", kernel_regularizer=penalty, kernel_initializer="zeros"
    )(top)
