"""A graph that would do more than compute is refused before anything of it is loaded."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.serving.versions import graph_scan, saved_model
from tests.serving import half_plus_two, tiny


def scan(folder):
    graph_scan.check(folder, saved_model.read(folder))


def write_a_file(x):
    with tf.control_dependencies([tf.io.write_file("/tmp/never-written", "x")]):
        return tf.identity(x)


def save_a_checkpoint(x):
    with tf.control_dependencies([tf.raw_ops.SaveV2(
        prefix="/tmp/never-written", tensor_names=["x"], shape_and_slices=[""], tensors=[x]
    )]):  # fmt: skip
        return tf.identity(x)


def print_to_a_file(x):
    with tf.control_dependencies([tf.print(x, output_stream="file:///tmp/never-written")]):
        return tf.identity(x)


REFUSED = {
    "Python": (lambda x: tf.py_function(lambda a: a, [x], tf.float32), "EagerPyFunc", "Python"),
    "numpy": (lambda x: tf.numpy_function(lambda a: a, [x], tf.float32), "PyFunc", "Python"),
    "writes": (write_a_file, "WriteFile", "files"),
    "reads": (lambda x: tf.strings.length(tf.io.read_file("/etc/passwd")), "ReadFile", "files"),
    "lists": (lambda x: tf.io.matching_files("/etc/*"), "MatchingFiles", "files"),
    "a checkpoint": (save_a_checkpoint, "SaveV2", "files"),
    "prints": (print_to_a_file, "PrintV2", "files"),
    "restores": (
        lambda x: tf.raw_ops.RestoreV2(
            prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0],
        "RestoreV2",
        "files",
    ),
    "lines": (
        lambda x: tf.data.TextLineDataset("/etc/passwd").reduce(
            tf.constant(0, tf.int64), lambda n, _: n + 1
        ),
        r"(TensorSlice|FlatMap|TextLine)Dataset",  # whichever the graph lists first
        "data of its own",
    ),
    "in a branch": (
        lambda x: tf.cond(
            tf.reduce_sum(x) > 0, lambda: x, lambda: tf.py_function(lambda a: a, [x], tf.float32)
        ),
        "EagerPyFunc",
        "Python",
    ),
}


@pytest.mark.parametrize(("function", "operation", "reason"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_by_the_operations_name_and_what_it_would_do(
    tmp_path, function, operation, reason
):
    folder = tiny.save(tmp_path / "model", function)
    with pytest.raises(ArtifactError, match=rf"the operation {operation}\b.*{reason}"):
        scan(folder)


def test_what_only_computes_is_not_refused_though_it_saves_and_restores_its_own_variables(tmp_path):
    weights = tf.Variable([2.0])
    folder = tiny.save(tmp_path / "model", lambda x: x * weights, weights=weights)
    found = saved_model.read(folder)
    assert {"SaveV2", "RestoreV2"} <= {node.op for node in found.nodes}
    graph_scan.check(folder, found)
    scan(half_plus_two.build(tmp_path / "half_plus_two"))


def test_a_lookup_table_with_its_values_in_the_graph_is_not_refused(tmp_path):
    keys, values = tf.constant(["a", "b"]), tf.constant([1, 2])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1)
    spec = tf.TensorSpec([None], tf.string, name="x")
    scan(tiny.save(tmp_path / "model", table.lookup, spec, table=table))


def test_the_models_that_pipelines_export_are_not_refused(models):
    scan(models.first)


def test_a_saver_that_an_answer_runs_is_refused_under_its_own_name_too(tmp_path):
    weights = tf.Variable([2.0])
    folder = tiny.save(tmp_path / "model", lambda x: x * weights, weights=weights)
    path = folder / saved_model.FILE
    written = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = written.meta_graphs[0].graph_def
    restore = next(f for f in graph.library.function if "traced_restore" in f.signature.name)
    answering = next(f for f in graph.library.function if "signature_wrapper" in f.signature.name)
    call = answering.node_def.add(name="sly", op="StatefulPartitionedCall")
    call.attr["f"].func.name = restore.signature.name
    path.write_bytes(written.SerializeToString())
    with pytest.raises(ArtifactError, match="the operation RestoreV2"):
        scan(folder)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x12\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_saved_model_is_refused(tmp_path, content):
    (tmp_path / saved_model.FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"cannot be read|no graph with the tag"):
        scan(tmp_path)
