"""How long a text is: its characters and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, JsonValue

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import scaling

if TYPE_CHECKING:
    import pyarrow as pa
    import tensorflow as tf

TAKES = ("text", "category")


class Params(Frozen):
    """length: {kind: length, of: [review]}"""

    of: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]


def learn(params: Params, columns: Sequence[pa.Array]) -> dict[str, JsonValue]:
    """Mean and deviation of the logarithms of both counts; one column of text, (n,)."""
    import numpy as np
    import pyarrow.compute as pc

    characters = pc.utf8_length(columns[0]).to_numpy(zero_copy_only=False)
    words = pc.count_substring_regex(columns[0], r"[^\t\n\v\f\r ]+").to_numpy(zero_copy_only=False)
    return {
        "characters": {**scaling.learn(np.log1p(characters.astype("float64")))},
        "words": {**scaling.learn(np.log1p(words.astype("float64")))},
    }


def apply(params: Params, known: Mapping[str, Any], columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """Both counts, as standardised logarithms of 1 more: float32 (n, 2)."""
    import tensorflow as tf

    characters = tf.strings.length(columns[0], unit="UTF8_CHAR")
    words = tf.strings.split(columns[0]).row_lengths()
    both = {"characters": characters, "words": words}
    return tf.stack(
        [
            scaling.standardised(tf.math.log1p(tf.cast(count, tf.float32)), known[name])
            for name, count in both.items()
        ],
        axis=1,
    )
