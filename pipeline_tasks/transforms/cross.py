"""Categories taken together: a model learns what only their combination tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, JsonValue

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import vocabulary

if TYPE_CHECKING:
    import pyarrow as pa
    import tensorflow as tf

TAKES = ("category",)
BETWEEN = "\x1f"


class Params(Frozen):
    """where_and_when: {kind: cross, of: [city, weekday], buckets: 64}"""

    of: Annotated[tuple[str, ...], Field(min_length=2, max_length=4)]
    vocabulary: int = Field(
        1000, ge=1, le=1_000_000, description="Most frequent combinations known, at most."
    )
    buckets: int | None = Field(
        None, ge=2, le=1_000_000, description="Instead: share so many places by hash."
    )


def learn(params: Params, columns: Sequence[pa.Array]) -> dict[str, JsonValue]:
    """The vocabulary of combinations; columns of text, (n,) each, "" where missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if params.buckets is not None:
        return {}
    between = pa.scalar(BETWEEN, columns[0].type)
    joined = pc.binary_join_element_wise(*columns, between).value_counts()
    counts = Counter(dict(zip(*(part.to_pylist() for part in joined.flatten()), strict=True)))
    return {"vocabulary": list(vocabulary.chosen(counts, params.vocabulary))}


def apply(params: Params, known: Mapping[str, Any], columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """One-hot over the combinations, float32 (n, buckets) or (n, vocabulary + 1)."""
    import tensorflow as tf

    joined = tf.strings.join(list(columns), BETWEEN)
    if params.buckets is not None:
        return tf.one_hot(tf.strings.to_hash_bucket_fast(joined, params.buckets), params.buckets)
    return vocabulary.one_hot(joined, known["vocabulary"])
