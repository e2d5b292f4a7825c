"""Model functions as a user writes them."""

import keras


def one_layer(inputs, outputs):
    """A linear model."""
    flat = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    return keras.layers.Dense(outputs)(keras.layers.Concatenate()(flat))


def too_wide(inputs, outputs):
    """One logit too many and then some."""
    return keras.layers.Dense(outputs + 2)(next(iter(inputs.values())))
