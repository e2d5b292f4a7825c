"""Which texts a model knows: chosen from training rows, looked up in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

HASHES = 2**63 - 1
FEW = 64


def chosen(counts: Mapping[str, int], size: int) -> list[str]:
    """The most frequent texts, at most `size`; of two with the same count the first by letter.

    >>> chosen({"red": 2, "blue": 5, "green": 2, "": 9}, 2)
    ['blue', 'green']
    """
    found = sorted((-count, text) for text, count in counts.items() if text)
    return [text for _, text in found[:size]]


def index(texts: tf.Tensor, vocabulary: Sequence[str]) -> tf.Tensor:
    """Each text's place in the vocabulary, int32 (n,), or len(vocabulary) where it is not in it.

    A few are all compared, which LiteRT can do as well. Of more: a binary search over fingerprints,
    then a comparison of the texts themselves: n log v steps and no table, which a SavedModel would
    have to keep track of.
    """
    import tensorflow as tf

    if not vocabulary:
        return tf.zeros_like(texts, tf.int32)
    if len(vocabulary) <= FEW:
        is_same = texts[:, None] == tf.constant(list(vocabulary))
        place = tf.argmax(tf.cast(is_same, tf.float32), axis=1, output_type=tf.int32)
        return tf.where(tf.reduce_any(is_same, axis=1), place, len(vocabulary))
    with tf.init_scope():
        hashes = tf.strings.to_hash_bucket_fast(list(vocabulary), HASHES).numpy()
    order = hashes.argsort(kind="stable")
    asked = tf.strings.to_hash_bucket_fast(texts, HASHES)
    place = tf.searchsorted(tf.constant(hashes[order]), asked)
    place = tf.gather(tf.constant(order, tf.int32), tf.minimum(place, len(order) - 1))
    is_known = tf.gather(tf.constant(list(vocabulary)), place) == texts
    return tf.where(is_known, place, len(vocabulary))


def one_hot(texts: tf.Tensor, vocabulary: Sequence[str]) -> tf.Tensor:
    """float32 (n, len(vocabulary) + 1): the last column is for texts that are not in it."""
    import tensorflow as tf

    return tf.one_hot(index(texts, vocabulary), len(vocabulary) + 1)
