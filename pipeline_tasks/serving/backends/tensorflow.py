"""TensorFlow: a SavedModel's signatures, or the one that XLA has compiled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.sections.variants import XLA_SIGNATURE
from pipeline_tasks.serving.rest.codec import Array, Input
from pipeline_tasks.serving.versions.signatures import DEFAULT, Call, Signature

# XLA compiles for one number of rows: for these when it is loaded, for others when they come.
XLA_ROWS = tuple(2**power for power in range(9))


def signatures(folder: Path) -> dict[str, Signature]:
    """Every signature of a SavedModel by name. Raises TensorFlow's errors when it is none."""
    loaded = _loaded(folder)
    return {
        name: _signature(name, function, loaded)
        for name, function in loaded.signatures.items()
        if name != XLA_SIGNATURE
    }


def compiled(folder: Path) -> Signature:
    """The compiled form of the default signature, under its name; ready for up to 256 rows."""
    loaded = _loaded(folder)
    if XLA_SIGNATURE not in loaded.signatures:
        raise ArtifactError(
            f"{folder} has no signature {XLA_SIGNATURE!r}",
            expected=f"one called {XLA_SIGNATURE!r}, found {sorted(loaded.signatures)}",
            fix="export it with xla among the pipeline file's `export: {variants: [...]}`",
        )
    plain = _signature(DEFAULT, loaded.signatures[XLA_SIGNATURE], loaded)
    call = padded(plain.call)
    for rows in XLA_ROWS:
        call({name: _blank(spec, rows) for name, spec in plain.inputs.items()})
    return Signature(name=DEFAULT, inputs=plain.inputs, call=call, outputs=plain.outputs)


def padded(call: Call) -> Call:
    """The same answers from batches of 1, 2, 4, 8 ... rows: the last row is asked repeatedly."""

    def with_few_sizes(arrays: Mapping[str, Array]) -> dict[str, Array]:
        rows = len(next(iter(arrays.values())))
        size = 1 << (rows - 1).bit_length()
        if rows == size:
            return call(arrays)
        more = {
            name: np.concatenate([values, values[-1:].repeat(size - rows, axis=0)])
            for name, values in arrays.items()
        }
        return {name: values[:rows] for name, values in call(more).items()}

    return with_few_sizes


def _loaded(folder: Path) -> Any:
    load_tensorflow()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder), tags=["serve"])
    if not loaded.signatures:
        raise ArtifactError(f"{folder} has no signature", fix="export the model with `export`")
    return loaded


def _signature(name: str, function: Any, loaded: Any) -> Signature:
    import tensorflow as tf

    specs = function.structured_input_signature[1]
    outputs = sorted(function.structured_outputs)

    def call(arrays: Mapping[str, Array]) -> dict[str, Array]:
        tensors = {key: tf.constant(arrays[key], spec.dtype) for key, spec in specs.items()}
        found = function(**tensors)
        return {key: found[key].numpy() for key in outputs}

    call.keep_alive = loaded  # type: ignore[attr-defined]
    return Signature(
        name=name,
        inputs={key: _spec(spec) for key, spec in specs.items()},
        call=call,
        outputs={key: _spec(spec) for key, spec in sorted(function.structured_outputs.items())},
    )


def _spec(spec: Any) -> Input:
    dtype = np.dtype(object) if spec.dtype.name == "string" else spec.dtype.as_numpy_dtype
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return Input(dtype=np.dtype(dtype), shape=shape)


def _blank(spec: Input, rows: int) -> Array:
    shape = (rows, *(size or 1 for size in (spec.shape or ())[1:]))
    return np.full(shape, b"" if spec.dtype.kind == "O" else 0, dtype=spec.dtype)
