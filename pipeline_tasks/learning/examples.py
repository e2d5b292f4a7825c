"""One split as training sees it: encoded once for all epochs, with what only training does."""

from __future__ import annotations

from typing import Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.data import rows
from pipeline_tasks.learning import augmenting, balancing, encoding
from pipeline_tasks.learning.fitting import Examples


def of(
    config: PipelineConfig, learned: encoding.Learned, arrays: rows.Arrays, split: str
) -> Examples:
    """The examples of one split. arrays: as rows.to_arrays makes them, `_label` included."""
    import tensorflow as tf

    labels: Any = arrays[rows.LABEL]
    raw = {name: tf.constant(values) for name, values in arrays.items() if name != rows.LABEL}
    if config.task == "regression":
        known: Any = learned[rows.LABEL]
        labels = ((labels - known["mean"]) / known["scale"]).astype("float32")
    columns = encoding.encode(raw, config, learned)
    if split != "train":
        weights = _judging_weights(config, labels)
        return Examples(columns=columns, labels=tf.constant(labels), weights=weights)
    return Examples(
        columns=columns,
        labels=tf.constant(labels),
        augment=augmenting.of(config),
        **_balanced(config, labels),
    )


def _judging_weights(config: PipelineConfig, labels: Any) -> Any:
    import tensorflow as tf

    balance = config.preparation.balance
    return tf.constant(balancing.judging_weights(labels, balance)) if balance else None


def _balanced(config: PipelineConfig, labels: Any) -> dict[str, Any]:
    """The weights of the rows, or which rows an epoch goes over, where classes are balanced."""
    import tensorflow as tf

    balance = config.preparation.balance
    if balance is None:
        return {}
    if balance.kind == "weights":
        return {"weights": tf.constant(balancing.row_weights(labels, balance))}
    order = balancing.oversampled(labels, balance, seed=config.training.seed)
    return {"order": order.astype("int32")}
