"""Images are varied within bounds, the same seed the same way; rare classes count as others do."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline_tasks.learning import augmenting, balancing
from pipeline_tasks.sections.preparation import Augmentation, Balance

SIZE = 21


def dots(count: int, y: int = 10, x: int = 10) -> np.ndarray:
    images = np.zeros((count, SIZE, SIZE, 1), dtype="float32")
    images[:, y - 1 : y + 2, x - 1 : x + 2] = 1.0
    return images


def varied(images: np.ndarray, seed: tuple[int, int] = (1, 2), **settings: float) -> np.ndarray:
    import tensorflow as tf

    @tf.function
    def graph(tensor, numbers):
        return augmenting.augment(tensor, Augmentation(**settings), numbers)

    return graph(tf.constant(images), tf.constant(seed, tf.int32)).numpy()


def centres(images: np.ndarray) -> np.ndarray:
    """Where the light is, (n, 2): y and x."""
    weights = images[..., 0] / images[..., 0].sum(axis=(1, 2), keepdims=True)
    steps = np.arange(SIZE)
    return np.stack([(weights * steps[:, None]).sum((1, 2)), (weights * steps).sum((1, 2))], 1)


def test_without_settings_images_stay_as_they_are():
    images = dots(3)
    np.testing.assert_array_equal(varied(images), images)


@pytest.mark.parametrize(
    "settings",
    [{"shift": 0.2}, {"rotate": 30}, {"zoom": 0.3}, {"noise": 0.2}, {"flip": True}],
)
def test_the_same_seed_varies_the_same_way_and_another_differently(settings):
    images = dots(8, y=5, x=14)
    first, again, other = (varied(images, seed, **settings) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == images.shape
    assert first.dtype == np.float32
    if "flip" not in settings:
        assert len({image.tobytes() for image in first}) == len(images)


def test_a_shift_stays_within_its_share_and_goes_everywhere():
    moved = centres(varied(dots(500), shift=0.2)) - 10
    assert np.abs(moved).max() <= 0.2 * SIZE + 1e-3
    assert (np.abs(moved).max(axis=0) > 0.18 * SIZE).all()
    assert np.abs(moved.mean(axis=0)).max() < 0.5


def test_a_turn_keeps_the_middle_and_the_distance_from_it():
    np.testing.assert_allclose(centres(varied(dots(50), rotate=45)), 10, atol=0.05)
    turned = centres(varied(dots(300, y=10, x=16), rotate=45)) - 10
    np.testing.assert_allclose(np.hypot(*turned.T), 6, atol=0.1)
    angles = np.degrees(np.arctan2(turned[:, 0], turned[:, 1]))
    assert 40 < np.abs(angles).max() <= 45.5
    assert angles.min() < -40 < 40 < angles.max()


def test_a_zoom_changes_the_distance_by_its_share_at_most():
    distances = np.hypot(*(centres(varied(dots(300, y=10, x=16), zoom=0.25)) - 10).T)
    assert 4.4 < distances.min() < 4.8
    assert 7.2 < distances.max() < 7.6


def test_a_flip_mirrors_about_half_of_the_images():
    places = centres(varied(dots(400, y=10, x=15), flip=True))[:, 1].round(3)
    assert set(places) == {5.0, 15.0}
    assert 150 < (places == 5.0).sum() < 250


def test_noise_has_its_deviation_and_leaves_pixels_between_0_and_1():
    found = varied(np.full((20, SIZE, SIZE, 1), 0.5, dtype="float32"), noise=0.1)
    assert found.std() == pytest.approx(0.1, rel=0.05)
    loud = varied(dots(20), noise=1.0)
    assert (loud.min(), loud.max()) == (0.0, 1.0)


def test_only_images_are_varied(small):
    import tensorflow as tf

    made = small(
        columns={"scan": {"type": "image", "shape": [SIZE, SIZE]}, "width": {"type": "number"}},
        preparation={"augmentation": {"shift": 0.2}},
    )
    function = augmenting.of(made.run().config)
    columns = {"scan": tf.constant(dots(4)), "width": tf.ones([4, 1])}
    found = function(columns, tf.constant([1, 2]))
    assert not np.array_equal(found["scan"], columns["scan"])
    assert found["width"] is columns["width"]
    assert augmenting.of(small().run().config) is None


LABELS = np.array([0] * 90 + [1] * 9 + [3])


def test_weights_make_every_class_count_the_same():
    weights = balancing.class_weights(LABELS, Balance())
    assert weights == pytest.approx({0: 100 / 270, 1: 100 / 27, 3: 100 / 3})
    by_row = balancing.row_weights(LABELS, Balance())
    assert by_row.dtype == np.float32
    sums = [by_row[index == LABELS].sum() for index in (0, 1, 3)]
    np.testing.assert_allclose(sums, 100 / 3, rtol=1e-6)
    assert by_row.mean() == pytest.approx(1)


def test_weights_have_a_limit():
    assert balancing.class_weights(LABELS, Balance(limit=5))[3] == 5


def test_oversampling_repeats_rare_rows_and_keeps_every_row():
    order = balancing.oversampled(LABELS, Balance(), seed=7)
    assert set(order) == set(range(100))
    assert np.bincount(LABELS[order]).tolist() == [90, 90, 0, 90]
    times = np.bincount(order)[90:99]
    assert times.min() == times.max() == 10
    np.testing.assert_array_equal(order, balancing.oversampled(LABELS, Balance(), seed=7))
    assert not np.array_equal(order, balancing.oversampled(LABELS, Balance(), seed=8))


def test_oversampling_has_a_limit():
    order = balancing.oversampled(LABELS, Balance(limit=4), seed=7)
    assert np.bincount(LABELS[order]).tolist() == [90, 36, 0, 4]
