"""Training images, each varied at random in every epoch: shifted, turned, scaled, noisy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.data import rows
from pipeline_tasks.sections.preparation import Augmentation

if TYPE_CHECKING:
    import tensorflow as tf

    Columns = Mapping[str, tf.Tensor]


def of(config: PipelineConfig) -> Callable[[Columns, tf.Tensor], Columns] | None:
    """A function of a batch's encoded columns and a stateless seed (int32, (2,)): others like them.

    None where the pipeline file asks for no augmentation, or has no images.
    """
    settings = config.preparation.augmentation
    images = [name for name, column in rows.inputs(config).items() if column.type == "image"]
    if settings is None or not images:
        return None

    def varied(columns: Columns, seed: tf.Tensor) -> Columns:
        return {**columns, **{name: augment(columns[name], settings, seed) for name in images}}

    return varied


def augment(images: tf.Tensor, settings: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Images float32 (n, height, width, channels), pixels about 0..1; what comes in is black.

    One draw from `settings` for each image; the same seed (int32, (2,)) draws the same again.
    """
    import tensorflow as tf

    turns, noises = tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 2))
    if settings.shift or settings.rotate or settings.zoom or settings.flip:
        images = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=_transforms(images, settings, turns),
            output_shape=tf.shape(images)[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
    if settings.noise:
        added = tf.random.stateless_normal(tf.shape(images), noises, stddev=settings.noise)
        images = tf.clip_by_value(images + added, 0.0, 1.0)
    return images


def _transforms(images: tf.Tensor, settings: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Eight numbers for each image, (n, 8): where in it each pixel of the result comes from.

    (x, y) of the result is (a0 x + a1 y + a2, b0 x + b1 y + b2) of the image; a turn, a scale and
    a flip about the middle, then a shift.
    """
    import tensorflow as tf

    count = tf.shape(images)[0]
    height, width = (tf.cast(size, tf.float32) for size in tf.unstack(tf.shape(images)[1:3]))
    draws = tf.random.stateless_uniform([5, count], seed, -1.0, 1.0)
    angle = draws[0] * (settings.rotate * math.pi / 180.0)
    scale = 1.0 / (1.0 + draws[1] * settings.zoom)
    mirror = tf.where(draws[4] < 0.0, -1.0, 1.0) if settings.flip else tf.ones_like(scale)
    a0, a1 = scale * tf.cos(angle) * mirror, -scale * tf.sin(angle)
    b0, b1 = scale * tf.sin(angle) * mirror, scale * tf.cos(angle)
    middle_x, middle_y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    a2 = middle_x - a0 * middle_x - a1 * middle_y + draws[2] * settings.shift * width
    b2 = middle_y - b0 * middle_x - b1 * middle_y + draws[3] * settings.shift * height
    zeros = tf.zeros_like(a0)
    return tf.stack([a0, a1, a2, b0, b1, b2, zeros, zeros], axis=1)
