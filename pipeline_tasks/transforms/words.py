"""Text as a bag of words: which of the known words it holds, and how telling they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, JsonValue

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import vocabulary

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import tensorflow as tf
    from numpy.typing import NDArray

TAKES = ("text", "category")
# RE2: everything that is neither a letter, a digit nor an apostrophe stands between two words.
BETWEEN = r"[^\p{L}\p{N}']+"
TEXTS_AT_ONCE = 10_000


class Params(Frozen):
    """words: {kind: words, of: [review], vocabulary: 5000, ngrams: 2}"""

    of: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    vocabulary: int = Field(1000, ge=1, le=1_000_000, description="Words known, at most.")
    ngrams: int = Field(1, ge=1, le=3, description="Words in a row that count as one, at most.")
    weight: Literal["tfidf", "count", "binary"] = "tfidf"


def learn(params: Params, columns: Sequence[pa.Array]) -> dict[str, JsonValue]:
    """The words in most texts, and how telling each one is; one column of text, (n,).

    telling: ln((1 + n) / (1 + texts with the word)) + 1 (Spärck Jones, J. Documentation 28, 1972,
    smoothed so that a word in every text still counts).
    """
    import numpy as np

    texts, counts = columns[0], Counter[str]()
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        counts.update(_in_how_many(texts.slice(start, TEXTS_AT_ONCE), params.ngrams))
    known = vocabulary.chosen(counts, params.vocabulary)
    within = np.array([counts[word] for word in known], dtype="float64")
    telling = np.log((1 + len(texts)) / (1 + within)) + 1
    return {"vocabulary": list(known), "telling": telling.tolist()}


def apply(params: Params, known: Mapping[str, Any], columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """How much of each known word a text holds: float32 (n, vocabulary).

    tfidf: (1 + ln count) * telling, over the row's Euclidean length. count: ln(1 + count).
    binary: 1 for every word that is there.
    """
    import tensorflow as tf

    size = len(known["vocabulary"])
    words = _words(columns[0], params.ngrams)
    places = vocabulary.index(words.values, known["vocabulary"])
    rows = tf.cast(words.value_rowids(), tf.int32)
    is_known = places < size
    where = tf.boolean_mask(tf.stack([rows, places], axis=1), is_known)
    ones = tf.ones(tf.shape(where)[:1], tf.float32)
    counts = tf.scatter_nd(where, ones, tf.stack([tf.shape(columns[0])[0], size]))
    if params.weight == "count":
        return tf.math.log1p(counts)
    if params.weight == "binary":
        return tf.minimum(counts, 1.0)
    some = tf.where(counts > 0, 1.0 + tf.math.log(tf.maximum(counts, 1.0)), 0.0)
    return tf.math.l2_normalize(some * tf.constant(known["telling"], tf.float32), axis=1)


def _words(texts: tf.Tensor, ngrams: int) -> tf.RaggedTensor:
    import tensorflow as tf

    lower = tf.strings.lower(texts, encoding="utf-8")
    words = tf.strings.split(tf.strings.regex_replace(lower, BETWEEN, " "), sep=None)
    if ngrams == 1:
        return words
    return tf.strings.ngrams(words, tuple(range(1, ngrams + 1)), separator=" ")


def _in_how_many(texts: pa.Array, ngrams: int) -> dict[str, int]:
    """In how many of the texts each word is: the same words as `_words` finds."""
    import pyarrow.compute as pc

    spaced = pc.replace_substring_regex(pc.utf8_lower(texts), BETWEEN, " ")
    lists = pc.split_pattern(spaced, " ")
    words, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
    is_word = pc.not_equal(words, "")
    words, rows = words.filter(is_word), rows.filter(is_word)
    counts: dict[str, int] = {}
    for length in range(1, ngrams + 1):
        counts |= _distinct(*_in_a_row(words, rows.to_numpy(), length))
    return counts


def _in_a_row(
    words: pa.Array, rows: NDArray[np.int64], length: int
) -> tuple[pa.Array, NDArray[np.int64]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    last = len(words) - length + 1
    if length == 1 or last < 1:
        return words.slice(0, max(last, 0)), rows[: max(last, 0)]
    parts = [words.slice(start, last) for start in range(length)]
    is_one_text = rows[:last] == rows[length - 1 :]
    joined = pc.binary_join_element_wise(*parts, pa.scalar(" ", words.type))
    return joined.filter(pa.array(is_one_text)), rows[:last][is_one_text]


def _distinct(words: pa.Array, rows: NDArray[np.int64]) -> dict[str, int]:
    import numpy as np

    coded = words.dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False).astype("int64")
    width = max(len(coded.dictionary), 1)
    pairs = np.unique(rows * width + codes)
    counts = np.bincount(pairs % width, minlength=len(coded.dictionary))
    return dict(zip(coded.dictionary.to_pylist(), counts.tolist(), strict=True))
