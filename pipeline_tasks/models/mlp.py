"""Multilayer perceptron: fully connected layers over all columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import keras


class Params(Frozen):
    """Shape and regularisation of the network."""

    hidden: tuple[int, ...] = Field((64, 32), description="Units of each hidden layer.")
    activation: Literal["relu", "tanh"] = "relu"
    l2: float = Field(0.0, ge=0, description="Weight of the squared weights in the loss.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of units left out in each step.")


def build(params: Params, inputs: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
    """The last hidden layer over these inputs, each (n, ...) float32."""
    import keras

    flat = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    top = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    for units in params.hidden:
        top = keras.layers.Dense(
            units,
            activation=params.activation,
            kernel_regularizer=keras.regularizers.L2(params.l2) if params.l2 else None,
        )(top)
        if params.dropout:
            top = keras.layers.Dropout(params.dropout)(top)
    return top
