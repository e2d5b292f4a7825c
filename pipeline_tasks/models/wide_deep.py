"""Wide and deep: a linear model that remembers beside a network that generalises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import keras


class Params(Frozen):
    """The deep part's shape; the wide part has none (Cheng et al., DLRS 2016).

    model: {kind: wide_deep, hidden: [64, 32], wide_l2: 0.0001, dropout: 0.1}
    """

    hidden: tuple[int, ...] = Field((64, 32), min_length=1, description="Units of the deep layers.")
    l2: float = Field(0.0, ge=0, description="Weight of the deep part's squared weights.")
    wide_l2: float = Field(0.0, ge=0, description="Weight of the wide part's squared weights.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of deep units left out in a step.")


def build(params: Params, inputs: dict[str, keras.KerasTensor], outputs: int) -> keras.KerasTensor:
    """Logits (n, outputs): the sum of what both parts say."""
    import keras

    flat = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    everything = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    deep = everything
    for units in params.hidden:
        penalty = keras.regularizers.L2(params.l2) if params.l2 else None
        deep = keras.layers.Dense(units, activation="relu", kernel_regularizer=penalty)(deep)
        deep = keras.layers.Dropout(params.dropout)(deep) if params.dropout else deep
    penalty = keras.regularizers.L2(params.wide_l2) if params.wide_l2 else None
    wide = keras.layers.Dense(outputs, use_bias=False, kernel_regularizer=penalty, name="wide")
    logits = keras.layers.Dense(outputs, name="deep", dtype="float32")
    return keras.layers.Add(name="logits", dtype="float32")([wide(everything), logits(deep)])
