"""The model of TensorFlow Serving's own tests, built anew: y = x / 2 + 2, and five ways more.

Like the original: two versions, 00000123 and 00000124; one predict signature, three of regress and
two of classify; those take serialized tf.Examples with the features x and x2.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from pipeline_tasks.core.store import Store

NAME = "half_plus_two"
FOLDERS = ("00000123", "00000124")
EXAMPLES = tf.TensorSpec([None], tf.string, name="inputs")
METHODS = {"regress": "tensorflow/serving/regress", "classify": "tensorflow/serving/classify"}


class HalfPlus(tf.Module):
    """y = a x + b, y2 = a x + c, y3 = a x2 + c."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = tf.Variable(0.5), tf.Variable(2.0), tf.Variable(3.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def predict(self, x):
        return {"y": self.a * x + self.b}

    @tf.function(input_signature=[EXAMPLES])
    def regress_x_to_y(self, inputs):
        return {"outputs": self.a * feature(inputs, "x") + self.b}

    @tf.function(input_signature=[EXAMPLES])
    def regress_x_to_y2(self, inputs):
        return {"outputs": self.a * feature(inputs, "x") + self.c}

    @tf.function(input_signature=[EXAMPLES])
    def regress_x2_to_y3(self, inputs):
        return {"outputs": self.a * feature(inputs, "x2") + self.c}

    @tf.function(input_signature=[EXAMPLES])
    def classify_x_to_y(self, inputs):
        return {"scores": self.a * feature(inputs, "x") + self.b}

    @tf.function(input_signature=[EXAMPLES])
    def classify_x2_to_y3(self, inputs):
        return {"scores": self.a * feature(inputs, "x2") + self.c}


def feature(inputs, name):
    """One float of each serialized tf.Example; 0 where it has none."""
    wanted = {name: tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0])}
    return tf.io.parse_example(inputs, wanted)[name]


def build(folder: Path) -> Path:
    """Write the SavedModel; TensorFlow 2 itself writes `predict` as every signature's method."""
    module = HalfPlus()
    names = [name for name in dir(module) if name.startswith(tuple(METHODS))]
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(
        module, str(folder), signatures=signatures | {"serving_default": module.predict}
    )
    path = folder / "saved_model.pb"
    written = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name in names:
        method = METHODS[name.split("_")[0]]
        written.meta_graphs[0].signature_def[name].method_name = method
    path.write_bytes(written.SerializeToString())
    return folder


def publish(models: Path, scratch: Path) -> None:
    """Both versions in the model's folder, each with the manifest of an artifact."""
    with Store(scratch).write(NAME, "run", "exported", inputs={}) as draft:
        build(draft.folder)
    for name in FOLDERS:
        shutil.copytree(Store(scratch).open(draft.done()), models / NAME / name)
