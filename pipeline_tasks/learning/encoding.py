"""From a client's raw values to what a network sees: one implementation, inside the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.settings import Column

if TYPE_CHECKING:
    import tensorflow as tf

Learned = Mapping[str, Mapping[str, JsonValue]]


def signature(config: PipelineConfig) -> dict[str, tf.TensorSpec]:
    """The inputs a client sends, by column name; the first axis is the row."""
    import tensorflow as tf

    return {
        name: tf.TensorSpec(
            [None, *(column.shape or ())],
            tf.string if column.type == "category" else tf.float32,
            name=name,
        )
        for name, column in config.columns.items()
    }


def encode(
    raw: Mapping[str, tf.Tensor], config: PipelineConfig, learned: Learned
) -> dict[str, tf.Tensor]:
    """Raw columns as float32 tensors with the row as first axis; what was learned is `learned`.

    number: (n, 1), missing as the training median, then standardised; a nullable one is (n, 2),
    the second telling that it was missing. category: one-hot over the vocabulary and one more for
    values never seen. image: (n, height, width, channels), pixels divided by the brightest.
    """
    return {
        name: _encode(raw[name], column, learned[name]) for name, column in config.columns.items()
    }


def _encode(raw: tf.Tensor, column: Column, known: Mapping[str, Any]) -> tf.Tensor:
    import tensorflow as tf

    if column.type == "image":
        scaled = tf.cast(raw, tf.float32) / known["scale"]
        return scaled if len(scaled.shape) == 4 else scaled[..., None]
    if column.type == "category":
        vocabulary = tf.constant(known["vocabulary"], dtype=tf.string)
        hits = tf.cast(raw[:, None] == vocabulary[None, :], tf.float32)
        return tf.concat([hits, 1.0 - tf.reduce_sum(hits, axis=1, keepdims=True)], axis=1)
    is_missing = tf.math.is_nan(raw)
    filled = tf.where(is_missing, tf.constant(known["median"], tf.float32), raw)
    standard = ((filled - known["mean"]) / known["scale"])[:, None]
    if not column.nullable:
        return standard
    return tf.concat([standard, tf.cast(is_missing, tf.float32)[:, None]], axis=1)
