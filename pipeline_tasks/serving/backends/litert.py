"""LiteRT: a graph of built-in operations, called in this process and without TensorFlow."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_tasks.serving.rest.codec import Array, Input
from pipeline_tasks.serving.versions.signatures import DEFAULT, Signature


def signature(path: Path) -> Signature:
    """The one signature of a .tflite file. Raises what LiteRT does when it cannot be read."""
    graph = Graph(path)
    return Signature(
        name=DEFAULT,
        inputs={name: _spec(one) for name, one in graph.inputs.items()},
        call=graph.call,
        outputs={name: _spec(one) for name, one in graph.outputs.items()},
    )


class Graph:
    """A .tflite file that any thread may call: each call has an interpreter to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        first = _Interpreter(path)
        self.inputs, self.outputs = first.inputs, first.outputs
        self._idle = deque([first])

    def call(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """One array an output. An interpreter that failed is not used again."""
        try:
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = _Interpreter(self._path)
        outputs = interpreter.call(arrays)
        self._idle.append(interpreter)
        return outputs


class _Interpreter:
    """One thread: a server has other requests for the other cores."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        runner = self._interpreter.get_signature_runner(DEFAULT)
        self.inputs: dict[str, dict[str, Any]] = runner.get_input_details()
        self.outputs: dict[str, dict[str, Any]] = dict(sorted(runner.get_output_details().items()))
        self._places = {name: one["index"] for name, one in self.inputs.items()}
        self._found = {name: one["index"] for name, one in self.outputs.items()}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def call(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        shapes = {name: arrays[name].shape for name in self._places}
        if shapes != self._shapes:
            self._resize(shapes)
        for name, place in self._places.items():
            self._interpreter.set_tensor(place, arrays[name])
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(place) for name, place in self._found.items()}

    def _resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._shapes = {}
        for name, place in self._places.items():
            self._interpreter.resize_tensor_input(place, shapes[name])
        self._interpreter.allocate_tensors()
        self._shapes = shapes


def _spec(details: Mapping[str, Any]) -> Input:
    dtype = object if details["dtype"] is np.bytes_ else details["dtype"]
    shape = tuple(None if size == -1 else int(size) for size in details["shape_signature"])
    return Input(dtype=np.dtype(dtype), shape=shape)
