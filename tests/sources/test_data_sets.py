"""Data sets that ship, and MNIST: rows, labels, and files that are something else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from tests.sources.made import Source

FIRST = {
    "iris": "sepal length (cm)",
    "wine": "alcohol",
    "breast_cancer": "mean radius",
    "diabetes": "age",
}
SCANS = {"scan": {"type": "image", "shape": [28, 28]}}
DIGITS = {"name": "shown", "classes": list(range(10))}


def bundled(name, **more):
    bunch = getattr(datasets, f"load_{name}")()
    label = {"name": "answer", "classes": sorted(set(bunch.target.tolist()))}
    if name == "diabetes":
        label = {"name": "answer", "type": "number"}
    columns = {"first": {"type": "number", "from": FIRST[name]}} if name in FIRST else {}
    return bunch, Source(
        {"kind": "sklearn", "name": name}, **({"columns": columns, "label": label} | more)
    )


@pytest.mark.parametrize("name", FIRST)
def test_a_bundled_set_has_the_rows_of_scikit_learn(name):
    bunch, made = bundled(name)
    frame = made.read()
    assert frame["first"].tolist() == bunch.data[:, 0].tolist()
    assert frame["answer"].tolist() == bunch.target.tolist()
    assert len(made.undeclared()) == bunch.data.shape[1] - 1
    assert made.place(3) == f"{name} row 3 (from 0)"


def test_classes_may_be_called_by_name():
    label = {"name": "species", "classes": ["setosa", "versicolor", "virginica"]}
    bunch, made = bundled("iris", label=label)
    assert made.read()["species"].tolist() == bunch.target_names[bunch.target].tolist()


def test_digits_are_images():
    bunch, made = bundled("digits", columns={"scan": {"type": "image", "shape": [8, 8]}})
    frame = made.read()
    assert (frame.drop(columns="answer").to_numpy() == bunch.data).all()
    assert made.undeclared() == []


def test_a_column_that_the_set_does_not_have_is_told_with_those_it_has():
    message = bundled("wine", columns={"sugar": {"type": "number"}})[1].refused()
    assert "data set wine: no column sugar; there is alcohol, malic_acid" in message


@pytest.mark.parametrize(
    ("name", "label", "said"),
    [
        ("iris", {"name": "x", "type": "number"}, "iris has classes to be answered"),
        ("diabetes", {"name": "x", "classes": [0, 1]}, "diabetes has a number to be answered"),
    ],
)
def test_a_label_of_the_wrong_kind_is_refused(name, label, said):
    assert said in bundled(name, label=label)[1].refused()


def small_mnist(path, arrays=("x_train", "y_train", "x_test", "y_test")):
    random = np.random.default_rng(1)
    made = {
        "x_train": random.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        "y_train": np.arange(6, dtype=np.uint8),
        "x_test": random.integers(0, 256, (4, 28, 28), dtype=np.uint8),
        "y_test": np.arange(6, 10, dtype=np.uint8),
    }
    np.savez(path, **{name: made[name] for name in arrays})
    return made


def mnist(path, **more):
    return Source({"kind": "mnist", "path": str(path)} | more, columns=SCANS, label=DIGITS)


@pytest.mark.parametrize(
    ("settings", "digits"),
    [
        ({}, range(10)),
        ({"split": "train"}, range(6)),
        ({"split": "test"}, range(6, 10)),
        ({"first": 4, "last": 7}, range(4, 8)),
        ({"split": "test", "first": 2, "last": 99}, range(8, 10)),
    ],
)
def test_the_chosen_digits_of_mnist_are_read(tmp_path, settings, digits):
    arrays = small_mnist(tmp_path / "mnist.npz")
    made = mnist(tmp_path / "mnist.npz", **settings)
    frame = made.read()
    assert frame["shown"].tolist() == list(digits)
    images = np.concatenate([arrays["x_train"], arrays["x_test"]])[list(digits)]
    assert (frame.drop(columns="shown").to_numpy() == images.reshape(-1, 784)).all()
    assert made.place(0).endswith(f"digit {settings.get('first', 0)}")


def test_the_path_of_mnist_may_have_a_variable(tmp_path, monkeypatch):
    small_mnist(tmp_path / "mnist.npz")
    monkeypatch.setenv("WHERE_IT_IS", str(tmp_path))
    assert len(mnist("${WHERE_IT_IS}/mnist.npz").read()) == 10


def test_a_file_that_is_not_mnist_is_named(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"something else")
    assert "a.npz is not MNIST" in mnist(tmp_path / "a.npz").refused()
    small_mnist(tmp_path / "b.npz", arrays=("x_train",))
    assert "b.npz is not MNIST" in mnist(tmp_path / "b.npz").refused()
    assert "there is no file" in mnist(tmp_path / "none.npz").refused()


def test_digits_behind_the_last_one_are_refused(tmp_path):
    small_mnist(tmp_path / "mnist.npz")
    made = mnist(tmp_path / "mnist.npz", first=10)
    assert "behind the last of 10 digits" in made.refused()


def test_columns_that_mnist_does_not_have_are_refused(tmp_path):
    small_mnist(tmp_path / "mnist.npz")
    made = mnist(tmp_path / "mnist.npz")
    made.columns = {"width": {"type": "number"}}
    assert "are not what MNIST has" in made.refused()


def test_mnist_is_whole():
    path = Path(os.environ.get("PERENNIAL_TEST_DATA", "../shared/data")) / "mnist.npz"
    if not path.is_file():
        pytest.skip(f"no {path}: set PERENNIAL_TEST_DATA to the folder that has it")
    frame = mnist(path, split="train").read()
    assert frame.shape == (60_000, 785)
    assert frame["shown"].value_counts().min() > 5_000
    assert str(frame["scan[0]"].dtype) == "uint8"
