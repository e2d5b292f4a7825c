"""A signature's function as a file for other runtimes: LiteRT's in three sizes, and ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.sections.variants import SIGNATURE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]
    Call = Callable[[Arrays], dict[str, NDArray[np.generic]]]

ONNX_OPSET = 18


def litert(loaded: Any, kind: str, rows: Callable[[], Arrays]) -> bytes:
    """A .tflite file of built-in operations alone. Raises what the converter does.

    loaded: the SavedModel, loaded: before it is saved, its weights are not found; kind: litert,
    float16 or int8; rows: training rows, which show int8 how large the numbers between the layers
    get.
    """
    import tensorflow as tf

    function = loaded.signatures[SIGNATURE]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], loaded)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    # As variables, weights would be empty in an interpreter that starts from the file alone.
    converter.experimental_enable_resource_variables = False
    if kind != "litert":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = lambda: _one_by_one(rows())
    with _quiet():
        content: bytes = converter.convert()
    return content


def onnx(loaded: Any) -> bytes:
    """An ONNX file whose inputs and outputs have the signature's names."""
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = loaded.signatures[SIGNATURE]
    with _quiet():
        frozen = convert_variables_to_constants_v2(function)
        inputs = [tensor.name for tensor in frozen.inputs]
        outputs = [tensor.name for tensor in frozen.outputs]
        specs = tf.nest.flatten(function.structured_input_signature)
        names = dict(zip(inputs, (spec.name for spec in specs), strict=True))
        names |= dict(zip(outputs, sorted(function.structured_outputs), strict=True))
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=inputs,
            output_names=outputs,
            opset=ONNX_OPSET,
            tensors_to_rename=names,
        )
    content: bytes = model.SerializeToString()
    return content


def onnx_call(path: Path) -> Call:
    """The function of an ONNX file, as ONNX Runtime answers it on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def call(arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))

    return call


def tensorflow_call(function: Any) -> Call:
    """The function of a concrete function, from arrays to arrays."""
    import tensorflow as tf

    def call(arrays: Arrays) -> dict[str, NDArray[np.generic]]:
        answers = function(**{name: tf.constant(values) for name, values in arrays.items()})
        return {name: values.numpy() for name, values in answers.items()}

    return call


def _one_by_one(rows: Arrays) -> Iterator[dict[str, NDArray[np.generic]]]:
    for index in range(len(next(iter(rows.values())))):
        yield {name: values[index : index + 1] for name, values in rows.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Converters tell about themselves at length, and what fails is raised."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
