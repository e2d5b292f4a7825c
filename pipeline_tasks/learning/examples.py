"""One split as training sees it: encoded once for all epochs, with what only training does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline_tasks import rows
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.learning import encoding
from pipeline_tasks.learning.augmenting import augment
from pipeline_tasks.learning.fitting import Columns, Examples

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray


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
        return Examples(columns=columns, labels=tf.constant(labels))
    return Examples(
        columns=columns,
        labels=tf.constant(labels),
        weights=_weights(config, labels),
        order=_oversampled(config, labels),
        augment=_augmentation(config, columns),
    )


def _augmentation(
    config: PipelineConfig, columns: dict[str, tf.Tensor]
) -> Callable[[Columns, tf.Tensor], Columns] | None:
    settings = config.preparation.augmentation
    images = [name for name, column in config.columns.items() if column.shape]
    if settings is None or not images:
        return None

    def augmented(batch: Columns, seed: tf.Tensor) -> Columns:
        changed = {name: augment(batch[name], settings, seed) for name in images}
        return {**batch, **changed}

    return augmented


def _weights(config: PipelineConfig, labels: NDArray[np.int64]) -> tf.Tensor | None:
    """Each row's weight, 1 on average, so that every class counts the same; at most `limit`."""
    import numpy as np
    import tensorflow as tf

    balance = config.preparation.balance
    if balance is None or balance.kind != "weights" or config.task == "regression":
        return None
    counts = np.bincount(labels, minlength=len(config.label.classes))
    wanted = np.minimum(len(labels) / np.maximum(counts, 1) / (counts > 0).sum(), balance.limit)
    return tf.constant(wanted[labels].astype("float32"))


def _oversampled(config: PipelineConfig, labels: NDArray[np.int64]) -> NDArray[np.int32] | None:
    """Rows with those of rare classes repeated: as many as the most frequent, or `limit` times."""
    import numpy as np

    balance = config.preparation.balance
    if balance is None or balance.kind != "oversample" or config.task == "regression":
        return None
    counts = np.bincount(labels, minlength=len(config.label.classes))
    times = np.minimum(counts.max() / np.maximum(counts, 1), balance.limit)[labels]
    fractions = np.random.default_rng(config.training.seed).random(len(labels))
    repeats = np.floor(times + fractions).astype(int)
    rows_repeated: NDArray[np.int32] = np.repeat(np.arange(len(labels), dtype=np.int32), repeats)
    return rows_repeated
