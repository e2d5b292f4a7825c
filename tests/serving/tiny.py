"""The smallest models: one input x, one output y, and whatever is done in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from pipeline_tasks.core.store import Store
from pipeline_tasks.serving.versions.saved_model import FILE

X = tf.TensorSpec([None], tf.float32, name="x")


def save(folder: Path, function: Callable, spec: tf.TensorSpec = X, **kept: object) -> Path:
    """Write y = function(x) as a SavedModel; `kept` is what it needs beside its graph."""
    module = tf.Module()
    for name, value in kept.items():
        setattr(module, name, value)
    module.answer = tf.function(lambda x: {"y": function(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures=module.answer)
    assert (folder / FILE).is_file()
    return folder


def publish(
    models: Path, name: str, version: int | str, function: Callable, **kept: object
) -> Path:
    """The same, with a manifest, moved into the models folder by one rename."""
    store = Store(models.parent / "scratch")
    with store.write(name, f"run-{version}", "exported", inputs={}) as draft:
        save(draft.folder, function, **kept)
    target = models / name / str(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(store.open(draft.done()), target)
    return target


def times(factor: float) -> Callable:
    """y = factor x."""
    return lambda x: factor * x


def failing(x):
    """Raises as soon as a value is negative."""
    with tf.control_dependencies([tf.debugging.assert_non_negative(x)]):
        return tf.identity(x)
