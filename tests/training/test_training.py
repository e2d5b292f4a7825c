"""Model families, optimizers and schedules: each learns, exactly, and the same way every time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError, TrainingError
from pipeline_tasks.data import rows
from tests.small import write_small

FAST = {"epochs": 15, "batch_size": 32, "learning_rate": 0.03, "patience": 0}
NUMBERS = {
    "columns": {"width": {"type": "number"}, "colour": {"type": "category"}},
    "label": {"name": "price", "type": "number"},
}


def write_numbers(folder, **changes):
    """price = 3 width + 2 (red) + 5 + noise."""
    made = write_small(folder, **(NUMBERS | {"training": FAST} | changes))
    random = np.random.default_rng(3)
    lines = ["width,colour,price"]
    for width in random.normal(10, 4, 400).round(3):
        colour = random.choice(["red", "green"])
        price = 3 * width + 2 * (colour == "red") + 5 + random.normal(0, 0.1)
        lines.append(f"{width},{colour},{price:.4f}")
    made.csv.write_text("\n".join(lines) + "\n")
    return made


def weights(made, left):
    return list(rows.read_arrays(made.run().open(left["train"]) / "weights.npz").values())


FAMILIES = [
    {"kind": "mlp", "hidden": [8], "activation": "tanh", "batch_norm": True, "dropout": 0.1},
    {"kind": "logistic_regression", "l2": 0.0001},
    {"kind": "wide_deep", "hidden": [8], "dropout": 0.1},
    {"kind": "keras_function", "path": "tests.training.families.one_layer"},
]


@pytest.mark.parametrize("model", FAMILIES, ids=lambda model: model["kind"])
def test_a_family_learns_and_answers_the_same_after_export(small, model):
    left = small(model=model, training=FAST).steps(until="verify")
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.85
    assert left["verify"].summary["largest_difference"] <= 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "learning_rate": 0.3},
        {"optimizer": "momentum", "learning_rate": 0.05},
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"schedule": "cosine"},
        {"schedule": "one_cycle", "learning_rate": 0.05},
        {"averaging": 0.9},
        {"smoothing": 0.1},
        {"batch_size": 0, "epochs": 80, "learning_rate": 0.1},
        {"batch_size": 1, "epochs": 3, "learning_rate": 0.01},
        {"precision": "mixed"},
    ],
    ids=str,
)
def test_every_way_of_training_learns(small, changes):
    model = {"kind": "mlp", "hidden": [8]}
    left = small(model=model, training=FAST | changes).steps(until="evaluate")
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.85


def test_least_squares_and_gradient_descent_find_the_same_line(tmp_path):
    found = []
    for number, method in enumerate(("least_squares", "gradient")):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = {"kind": "linear_regression", "method": method}
        training = {"epochs": 3000, "batch_size": 0, "learning_rate": 0.05, "patience": 0}
        made = write_numbers(folder, model=model, training=training)
        left = made.steps(until="verify")
        kept = rows.read_arrays(made.run().open(left["evaluate"]) / "predictions.npz")
        found.append(kept["test_values"])
        assert left["verify"].summary["largest_difference"] <= 1e-5
        assert left["evaluate"].summary["test_candidate_rmse"] < 0.5
    np.testing.assert_allclose(*found, atol=0.05)
    assert np.ptp(found[0]) > 30


def test_least_squares_is_scikit_learns_ridge(tmp_path):
    from sklearn.linear_model import Ridge

    from pipeline_tasks.models import linear_regression

    random = np.random.default_rng(1)
    x = random.normal(size=(200, 5)).astype("float32")
    y = (x @ [1, -2, 3, 0, 0.5] + 4 + random.normal(size=200)).astype("float32")
    params = linear_regression.Params(l2=0.1)
    kernel, bias = linear_regression.solve(params, {"x": x}, y)
    theirs = Ridge(alpha=0.1 * 200).fit(x, y)
    np.testing.assert_allclose(kernel[:, 0], theirs.coef_, rtol=1e-5)
    np.testing.assert_allclose(bias[0], theirs.intercept_, rtol=1e-5)


def test_columns_that_depend_on_each_other_have_a_solution():
    from pipeline_tasks.models import linear_regression

    x = np.arange(10, dtype="float32")[:, None]
    kernel, bias = linear_regression.solve(
        linear_regression.Params(), {"a": x, "b": 2 * x}, 3 * x[:, 0] + 1
    )
    np.testing.assert_allclose(np.concatenate([x, 2 * x], 1) @ kernel + bias, 3 * x + 1, atol=1e-4)


def test_a_network_learns_a_number_in_its_own_units(tmp_path):
    made = write_numbers(tmp_path, model={"kind": "mlp", "hidden": [16]})
    left = made.steps(until="verify")
    assert left["evaluate"].summary["test_candidate_r2"] > 0.95
    assert left["train"].summary["validation_r2"] > 0.95


def test_two_runs_with_one_seed_have_the_same_weights_and_another_seed_others(tmp_path):
    found = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        training = FAST | {"seed": seed, "averaging": 0.9, "schedule": "one_cycle", "epochs": 3}
        model = {"kind": "mlp", "hidden": [8], "dropout": 0.2, "batch_norm": True}
        made = write_small(folder, model=model, training=training)
        found.append(weights(made, made.steps(until="train")))
    for first, same in zip(*found[:2], strict=True):
        np.testing.assert_array_equal(first, same)
    assert any((a != b).any() for a, b in zip(found[0], found[2], strict=True))


def test_a_convolutional_network_reads_digits_and_its_shifts_are_inside_the_export(tmp_path):
    made = write_small(
        tmp_path,
        source={"kind": "digits", "first": 0, "last": 599},
        columns={"image": {"type": "image", "shape": [8, 8], "min": 0, "max": 16}},
        label={"name": "digit", "classes": list(range(10))},
        model={"kind": "cnn", "blocks": [{"filters": 16}, {"filters": 32}], "shifts": True},
        training={"epochs": 6, "batch_size": 32, "learning_rate": 0.01, "schedule": "one_cycle"},
    )
    left = made.steps(until="verify")
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.9
    assert left["verify"].summary["largest_difference"] <= 1e-5


def test_a_family_that_does_not_fit_the_label_is_a_mistake_in_the_file(tmp_path):
    path = tmp_path / "wrong.yaml"
    content = yaml.safe_load(write_small(tmp_path).yaml.read_text())
    path.write_text(yaml.safe_dump(content | {"model": {"kind": "linear_regression"}}))
    with pytest.raises(
        ConfigError, match=r"linear_regression is for regression.*makes this binary"
    ):
        config.load(path)


def test_a_function_that_is_not_there_says_where_it_was_looked_for(small):
    model = {"kind": "keras_function", "path": "tests.training.families.nothing"}
    with pytest.raises(ConfigError, match=r"model\.path tests\.training\.families\.nothing"):
        small(model=model).steps(until="train")


def test_layers_that_do_not_fit_the_image_are_said_in_plain_words(tmp_path):
    made = write_small(
        tmp_path,
        source={"kind": "digits", "first": 0, "last": 99},
        columns={"image": {"type": "image", "shape": [8, 8]}},
        label={"name": "digit", "classes": list(range(10))},
        model={"kind": "cnn", "blocks": [{"filters": 4, "kernel": 9}]},
    )
    with pytest.raises(ConfigError, match=r"cnn cannot be built over image \(8, 8, 1\)"):
        made.steps(until="train")


def test_a_function_with_the_wrong_answer_is_told_the_shape(small):
    model = {"kind": "keras_function", "path": "tests.training.families.too_wide"}
    with pytest.raises(ConfigError, match=r"shape \(None, 3\)"):
        small(model=model).steps(until="train")


def test_out_of_memory_is_tried_once_more_with_half_the_batch(small, monkeypatch, caplog):
    import tensorflow as tf

    from pipeline_tasks.learning import fitting

    real, seen = fitting.fit, []

    def fit(*arguments, settings, **others):
        seen.append(settings.batch_size)
        if settings.batch_size > limit:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return real(*arguments, settings=settings, **others)

    monkeypatch.setattr(fitting, "fit", fit)
    limit = 16
    small(training=FAST).steps(until="train")
    assert seen == [32, 16]
    assert "half the batch: 16 rows" in caplog.text
    limit = 4
    with pytest.raises(TrainingError, match="out of memory, even with batches of 16 rows"):
        small(training=FAST).steps("again", until="train", force=True)


def test_curves_are_kept_as_data_and_as_a_plot(small):
    made = small(training=FAST)
    left = made.steps(until="train")
    folder = made.run().open(left["train"])
    curves = json.loads((folder / "curves.json").read_text())
    assert len(curves["loss"]) == len(curves["validation_loss"]) == 15
    assert curves["loss"][-1] < curves["loss"][0]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_changed_code_of_a_model_function_trains_again(small, tmp_path, monkeypatch):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = "from tests.training.families import one_layer as build\n"
    (package / "net.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    made = small(model={"kind": "keras_function", "path": "mine.net.build"})
    made.steps("first", until="train")
    assert made.steps("second", until="train")["train"].reused
    (package / "net.py").write_text(source + "# changed\n")
    assert not made.steps("third", until="train")["train"].reused


def test_a_rare_class_is_found_when_it_is_given_weight(tmp_path):
    found = {}
    for kind in (None, "weights"):
        folder = tmp_path / str(kind)
        folder.mkdir()
        preparation = {"balance": {"kind": kind}} if kind else {}
        made = write_small(folder, preparation=preparation, training=FAST | {"epochs": 5})
        header, *lines = made.csv.read_text().splitlines()
        rare = [line for line in lines if line.endswith(",1")][:12]
        made.csv.write_text(
            "\n".join([header, *rare, *(line for line in lines if line.endswith(",0"))])
        )
        left = made.steps(until="evaluate")
        predictions = rows.read_arrays(made.run().open(left["evaluate"]) / "predictions.npz")
        found[kind] = float(predictions["test_probabilities"][:, 1].mean())
    assert found["weights"] > 2 * found[None]


@pytest.mark.parametrize("kind", ["weights", "oversample"])
def test_balanced_rows_are_judged_as_they_are_learned_from(tmp_path, kind):
    """Else the first epoch, which knows only how rare a class is, would seem to be the best."""
    balance = {"balance": {"kind": kind}}
    made = write_small(tmp_path, preparation=balance, training=FAST | {"patience": 3})
    header, *lines = made.csv.read_text().splitlines()
    rare = [line for line in lines if line.endswith(",1")][:30]
    frequent = [line for line in lines if line.endswith(",0")]
    made.csv.write_text("\n".join([header, *rare, *frequent]) + "\n")
    left = made.steps(until="train")["train"]
    curves = json.loads((made.run().open(left) / "curves.json").read_text())
    assert left.summary["best_epoch"] > 3
    ratio = curves["validation_loss"][0] / curves["loss"][0]
    assert 0.5 < ratio < 2, "both are means over balanced rows"


def test_an_oversampled_epoch_goes_over_every_class_as_often(small):
    from pipeline_tasks.learning import examples

    made = small(preparation={"balance": {"kind": "oversample"}})
    labels = np.array([0] * 90 + [1] * 10)
    arrays = {
        "width": np.zeros(100, "float32"),
        "height": np.zeros(100, "float32"),
        "colour": np.array(["red"] * 100),
        rows.LABEL: labels,
    }
    folder = made.run().open(made.steps(until="prepare")["prepare"])
    learned = json.loads((folder / "preprocessing.json").read_text())
    found = examples.of(made.run().config, learned, arrays, "train")
    assert np.bincount(labels[found.order]).tolist() == [90, 90]
    assert found.rows_an_epoch == 180
    assert examples.of(made.run().config, learned, arrays, "validation").order is None


def test_augmentation_moves_every_image_a_little_and_the_same_seed_the_same_way():
    import tensorflow as tf

    from pipeline_tasks.learning.augmenting import augment
    from pipeline_tasks.sections.preparation import Augmentation

    images = tf.constant(
        np.pad(np.ones((50, 4, 4, 1), "float32"), ((0, 0), (6, 6), (6, 6), (0, 0)))
    )
    settings = Augmentation(shift=0.1, rotate=15, zoom=0.1)
    first, same = (augment(images, settings, tf.constant([1, 2])) for _ in range(2))
    other = augment(images, settings, tf.constant([1, 3]))
    np.testing.assert_array_equal(first, same)
    assert (first.numpy() != other.numpy()).any()
    assert len(np.unique(first.numpy().reshape(50, -1), axis=0)) == 50
    light = first.numpy().sum(axis=(1, 2, 3)) / 16
    assert ((light > 0.7) & (light < 1.4)).all()
    unchanged = augment(images, Augmentation(), tf.constant([1, 2]))
    np.testing.assert_allclose(unchanged, images, atol=1e-6)


def test_a_shift_is_bounded_by_its_share_of_the_image():
    import tensorflow as tf

    from pipeline_tasks.learning.augmenting import augment
    from pipeline_tasks.sections.preparation import Augmentation

    image = np.zeros((200, 21, 21, 1), "float32")
    image[:, 10, 10] = 1.0
    moved = augment(tf.constant(image), Augmentation(shift=0.1), tf.constant([0, 0])).numpy()
    where = np.argwhere(moved[..., 0] > 0.05)[:, 1:] - 10
    assert np.abs(where).max() == 3, "2.1 pixels, spread over neighbours"
    assert where.min() < -1
    assert where.max() > 1


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "mlp", "hidden": [8], "batch_norm": True, "dropout": 0.1},
        {"kind": "logistic_regression"},
        {"kind": "keras_function", "path": "tests.training.families.one_layer"},
    ],
    ids=lambda model: model["kind"],
)
def test_mixed_precision_trains_in_bfloat16_and_answers_in_float32(small, monkeypatch, model):
    """As where TensorFlow sees a GPU: bfloat16 is computed on a CPU, too, only not faster."""
    import keras
    import tensorflow as tf

    seen = []
    real = keras.config.set_dtype_policy
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    monkeypatch.setattr(
        keras.config, "set_dtype_policy", lambda name: (seen.append(name), real(name))
    )
    made = small(model=model, training=FAST | {"precision": "mixed"})
    left = made.steps(until="verify")
    assert seen[0] == "mixed_bfloat16"
    assert set(seen[1:]) == {"float32"}
    assert {str(values.dtype) for values in weights(made, left)} == {"float32"}
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.85
    assert left["verify"].summary["largest_difference"] <= 1e-5
    answers = rows.read_arrays(made.run().open(left["evaluate"]) / "predictions.npz")
    shares = answers["test_probabilities"]
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)


def test_mixed_precision_learns_a_number_too(tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    model = {"kind": "linear_regression", "method": "gradient"}
    training = FAST | {"precision": "mixed", "epochs": 40}
    left = write_numbers(tmp_path, model=model, training=training).steps(until="verify")
    assert left["evaluate"].summary["test_candidate_r2"] > 0.9


def test_a_gpu_that_is_seen_changes_nothing_but_where_it_is_computed(tmp_path, monkeypatch):
    import tensorflow as tf

    found = []
    for devices in ([], ["a GPU"]):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None, d=devices: d)
        folder = tmp_path / str(len(devices))
        folder.mkdir()
        made = write_small(folder, training=FAST | {"epochs": 2})
        found.append(weights(made, made.steps(until="train")))
    for without, seen in zip(*found, strict=True):
        np.testing.assert_array_equal(without, seen)
