"""Multilayer perceptron: fully connected layers over all columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import keras

# Of the running mean and variance: small data sets have too few steps for the usual 0.99.
MOMENTUM = 0.9


class Params(Frozen):
    """Shape and regularisation of the network.

    model: {kind: mlp, hidden: [64, 32], activation: relu, l2: 0.0001, dropout: 0.2}
    """

    hidden: tuple[int, ...] = Field((64, 32), description="Units of each hidden layer.")
    activation: Literal["relu", "tanh"] = "relu"
    l2: float = Field(0.0, ge=0, description="Weight of the squared weights in the loss.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of units left out in each step.")
    batch_norm: bool = Field(False, description="Normalise each layer's units over the batch.")


def build(params: Params, inputs: dict[str, keras.KerasTensor], outputs: int) -> keras.KerasTensor:
    """Logits (n, outputs) over these inputs, each (n, ...) float32."""
    import keras

    flat = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    top = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    for units in params.hidden:
        top = _layer(params, units, top)
    return keras.layers.Dense(outputs, name="logits", dtype="float32")(top)


def _layer(params: Params, units: int, top: keras.KerasTensor) -> keras.KerasTensor:
    import keras

    penalty = keras.regularizers.L2(params.l2) if params.l2 else None
    top = keras.layers.Dense(units, use_bias=not params.batch_norm, kernel_regularizer=penalty)(top)
    if params.batch_norm:
        top = keras.layers.BatchNormalization(momentum=MOMENTUM)(top)
    top = keras.layers.Activation(params.activation)(top)
    return keras.layers.Dropout(params.dropout)(top) if params.dropout else top
