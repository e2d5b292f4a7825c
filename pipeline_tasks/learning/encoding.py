"""From a client's raw values to what a network sees: one implementation, inside the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.data import rows, scaling, vocabulary
from pipeline_tasks.sections import preparation
from pipeline_tasks.sections.settings import Column
from pipeline_tasks.transforms import date_parts, words

if TYPE_CHECKING:
    import tensorflow as tf

Learned = Mapping[str, Mapping[str, JsonValue]]


def signature(config: PipelineConfig) -> dict[str, tf.TensorSpec]:
    """The inputs a client sends, by column name; the first axis is the row."""
    import tensorflow as tf

    return {
        name: tf.TensorSpec(
            [None, *(column.shape or ())], tf.string if column.is_text else tf.float32, name=name
        )
        for name, column in rows.inputs(config).items()
    }


def encode(
    raw: Mapping[str, tf.Tensor], config: PipelineConfig, learned: Learned
) -> dict[str, tf.Tensor]:
    """Raw columns as float32 tensors with the row as first axis; what was learned is `learned`.

    number: (n, 1), missing ones filled, outliers clipped, then standardised. category: one-hot
    over the vocabulary and one more for values never seen. text: (n, vocabulary), see
    transforms/words.py. date: (n, 6), see transforms/date_parts.py. image: (n, height, width,
    channels), pixels divided by the brightest. A column that tells what was missing has one more.
    Features come after the columns, by their own names.
    """
    columns = rows.inputs(config)
    known: Mapping[str, Any] = learned
    corrected = {name: _corrected(raw[name], column) for name, column in columns.items()}
    missing = {name: _is_missing(corrected[name], column) for name, column in columns.items()}
    cleaned = {
        name: _cleaned(corrected[name], missing[name], column, known[name])
        for name, column in columns.items()
    }
    cleaned |= _without_outliers(cleaned, config, known)
    encoded = {
        name: _with_indicator(_encoded(cleaned[name], column, known[name]), missing[name], column)
        for name, column in columns.items()
    }
    return encoded | _features(cleaned, config, known)


def _corrected(raw: tf.Tensor, column: Column) -> tf.Tensor:
    import tensorflow as tf

    if column.type == "image":
        return raw
    kind, missing = (tf.string, "") if column.is_text else (tf.float32, float("nan"))
    values = raw
    for old, new in column.replace.items():
        is_old = raw == tf.constant(old if column.is_text else float(old), kind)
        becomes = missing if new is None else new if column.is_text else float(new)
        values = tf.where(is_old, tf.constant(becomes, kind), values)
    for rule in column.correct:
        values = tf.strings.regex_replace(values, rule.pattern, rule.text)
    return values


def _is_missing(values: tf.Tensor, column: Column) -> tf.Tensor:
    import tensorflow as tf

    if column.type == "image":
        return tf.zeros(tf.shape(values)[:1], tf.bool)
    return values == "" if column.is_text else tf.math.is_nan(values)


def _cleaned(
    values: tf.Tensor, is_missing: tf.Tensor, column: Column, known: Mapping[str, Any]
) -> tf.Tensor:
    import tensorflow as tf

    if "fill" in known:
        fill = tf.constant(known["fill"], tf.string if column.is_text else tf.float32)
        values = tf.where(is_missing, fill, values)
    return _within(values[:, None], known["outliers"])[:, 0] if "outliers" in known else values


def _within(values: tf.Tensor, bounds: Mapping[str, Any]) -> tf.Tensor:
    import tensorflow as tf

    return tf.clip_by_value(values, bounds["low"], bounds["high"]) if bounds else values


def _without_outliers(
    cleaned: Mapping[str, tf.Tensor], config: PipelineConfig, known: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """All numbers of a row, what is done about outliers among them taken together."""
    import tensorflow as tf

    names = rows.numbers(config)
    if not known.get(rows.OUTLIERS):
        return {}
    values = _within(tf.stack([cleaned[name] for name in names], axis=1), known[rows.OUTLIERS])
    return {name: values[:, place] for place, name in enumerate(names)}


def _encoded(values: tf.Tensor, column: Column, known: Mapping[str, Any]) -> tf.Tensor:
    import tensorflow as tf

    if column.type == "image":
        scaled = tf.cast(values, tf.float32) / known["scale"]
        return scaled if len(scaled.shape) == 4 else scaled[..., None]
    if column.type == "category":
        return vocabulary.one_hot(values, known["vocabulary"])
    if column.type == "text":
        return words.apply(preparation.words_of(column), known, [values])
    if column.type == "date":
        return date_parts.apply(preparation.DATE_PARTS, known, [values])
    return scaling.standardised(values, known)[:, None]


def _with_indicator(encoded: tf.Tensor, is_missing: tf.Tensor, column: Column) -> tf.Tensor:
    import tensorflow as tf

    if not column.tells_missing:
        return encoded
    return tf.concat([encoded, tf.cast(is_missing, tf.float32)[:, None]], axis=1)


def _features(
    cleaned: Mapping[str, tf.Tensor], config: PipelineConfig, known: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    features = {}
    for name, feature in config.preparation.features.items():
        part, params = preparation.loaded(feature)
        columns = [cleaned[of] for of in params.of]
        features[name] = part.apply(params, known[rows.FEATURES][name], columns)
    return features
