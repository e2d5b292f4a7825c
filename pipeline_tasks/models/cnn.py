"""Convolutional network: for one image column; other columns join before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

NEEDS_COLUMN = "image"
# Of the running mean and variance: small data sets have too few steps for the usual 0.99.
MOMENTUM = 0.9


class Block(Frozen):
    """One convolution with batch normalisation and ReLU."""

    filters: int = Field(ge=1)
    kernel: int = Field(3, ge=1)
    stride: int = Field(1, ge=1)
    pool: int = Field(1, ge=1, description="Side of the max-pooling that follows; 1 for none.")


class Params(Frozen):
    """The blocks from the pixels to the answer.

    model: {kind: cnn, blocks: [{filters: 32}, {filters: 64, pool: 2}], hidden: [64], dropout: 0.3}
    """

    blocks: tuple[Block, ...] = Field((Block(filters=16), Block(filters=32, pool=2)), min_length=1)
    hidden: tuple[int, ...] = Field((), description="Units of each dense layer after the blocks.")
    l2: float = Field(0.0, ge=0, description="Weight of the squared weights in the loss.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of units left out before the answer."
    )
    shifts: bool = Field(
        False,
        description="Answer with the mean over the image and its four one-pixel shifts. Costs five "
        "times the computation of an answer, none in training.",
    )


def build(params: Params, inputs: dict[str, keras.KerasTensor], outputs: int) -> keras.KerasTensor:
    """Logits (n, outputs). Images are (n, height, width, channels); everything else is flat.

    Raises ValueError when no column is an image, or one is smaller than the blocks need.
    """
    import keras

    images = [tensor for tensor in inputs.values() if len(tensor.shape) == 4]
    if not images:
        raise ValueError("model kind cnn needs a column of type image")
    tops = [keras.layers.Flatten()(_convolved(params, image)) for image in images]
    tops += [tensor for tensor in inputs.values() if len(tensor.shape) != 4]
    top = keras.layers.Concatenate()(tops) if len(tops) > 1 else tops[0]
    for units in params.hidden:
        top = keras.layers.Dense(units, activation="relu", kernel_regularizer=_penalty(params))(top)
    top = keras.layers.Dropout(params.dropout)(top) if params.dropout else top
    return keras.layers.Dense(outputs, name="logits", dtype="float32")(top)


def views(params: Params, columns: dict[str, tf.Tensor]) -> list[dict[str, tf.Tensor]]:
    """What an answer is the mean over: the image as it is, and moved by a pixel each way."""
    if not params.shifts:
        return [columns]
    return [
        {name: _shifted(values, move) for name, values in columns.items()}
        for move in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
    ]


def _shifted(values: tf.Tensor, move: tuple[int, int]) -> tf.Tensor:
    import tensorflow as tf

    if len(values.shape) != 4 or move == (0, 0):
        return values
    down, right = move
    height, width = values.shape[1], values.shape[2]
    padded = tf.pad(values, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def _convolved(params: Params, image: keras.KerasTensor) -> keras.KerasTensor:
    import keras

    for block in params.blocks:
        convolution = keras.layers.Conv2D(
            block.filters,
            block.kernel,
            strides=block.stride,
            use_bias=False,
            kernel_regularizer=_penalty(params),
        )
        image = keras.layers.ReLU()(
            keras.layers.BatchNormalization(momentum=MOMENTUM)(convolution(image))
        )
        image = keras.layers.MaxPooling2D(block.pool)(image) if block.pool > 1 else image
    return image


def _penalty(params: Params) -> keras.regularizers.Regularizer | None:
    import keras

    return keras.regularizers.L2(params.l2) if params.l2 else None
