"""What is written in a saved_model.pb, read without TensorFlow and before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.serving import messages

FILE = "saved_model.pb"
SERVE = "serve"
# The fields that are read, of TensorFlow's messages of the same names; the others are skipped.
MESSAGES: messages.Fields = {
    "SavedModel": {"meta_graphs": (2, "*MetaGraphDef")},
    "MetaGraphDef": {
        "meta_info_def": (1, "MetaInfoDef"),
        "graph_def": (2, "GraphDef"),
        "signature_def": (5, "*SignatureDefEntry"),
    },
    "MetaInfoDef": {"tags": (4, "*string")},
    "GraphDef": {"node": (1, "*NodeDef"), "library": (2, "FunctionDefLibrary")},
    "NodeDef": {
        "name": (1, "string"),
        "op": (2, "string"),
        "input": (3, "*string"),
        "attr": (5, "*AttrEntry"),
    },
    "AttrEntry": {"value": (2, "AttrValue")},
    "AttrValue": {"list": (1, "ListValue"), "func": (10, "NameAttrList")},
    "ListValue": {"func": (9, "*NameAttrList")},
    "NameAttrList": {"name": (1, "string")},
    "FunctionDefLibrary": {"function": (1, "*FunctionDef")},
    "FunctionDef": {"signature": (1, "OpDef"), "node_def": (3, "*NodeDef")},
    "OpDef": {"name": (1, "string")},
    "SignatureDefEntry": {"key": (1, "string"), "value": (2, "SignatureDef")},
    "SignatureDef": {
        "inputs": (1, "*TensorInfoEntry"),
        "outputs": (2, "*TensorInfoEntry"),
        "method_name": (3, "string"),
    },
    "TensorInfoEntry": {"key": (1, "string"), "value": (2, "TensorInfo")},
    "TensorInfo": {
        "name": (1, "string"),
        "dtype": (2, "int32"),
        "tensor_shape": (3, "TensorShapeProto"),
    },
    "TensorShapeProto": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
}
DTYPES = {1: "FLOAT", 2: "DOUBLE", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "STRING"}
DTYPES |= {8: "COMPLEX64", 9: "INT64", 10: "BOOL", 14: "BFLOAT16", 17: "UINT16", 18: "COMPLEX128"}
DTYPES |= {0: "INVALID", 19: "HALF", 20: "RESOURCE", 21: "VARIANT", 22: "UINT32", 23: "UINT64"}


@dataclass(frozen=True)
class Node:
    """One operation: of the graph itself, or of a function in its library."""

    name: str
    op: str
    inputs: tuple[str, ...]
    calls: tuple[str, ...]  # the functions it may call
    function: str = ""  # that it is in; empty: the graph itself


@dataclass(frozen=True)
class SavedModel:
    """The operations of a saved_model.pb, and its signatures as TensorFlow Serving shows them."""

    nodes: tuple[Node, ...] = field(repr=False)
    signatures: dict[str, dict[str, Any]]


def read(folder: Path) -> SavedModel:
    """What is in the folder's saved_model.pb. Raises ArtifactError when it is none."""
    path = folder / FILE
    try:
        found = messages.read("SavedModel", MESSAGES, path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{folder} has no {FILE}", fix="export the model again") from None
    except DecodeError as error:
        raise ArtifactError(f"{path} cannot be read: {error}", fix="export it again") from None
    served = [one for one in found.meta_graphs if SERVE in one.meta_info_def.tags]
    if not served:
        raise ArtifactError(f"{path} has no graph with the tag {SERVE!r}", fix="export it again")
    # The nodes of every graph count, whatever its tags: all of them come from the same file.
    nodes = tuple(node for graph in found.meta_graphs for node in _nodes(graph.graph_def))
    signatures = {one.key: _signature(one.value) for one in served[0].signature_def}
    return SavedModel(nodes, dict(sorted(signatures.items())))


def _nodes(graph: Any) -> Iterator[Node]:
    yield from (_node(node, "") for node in graph.node)
    for function in graph.library.function:
        yield from (_node(node, function.signature.name) for node in function.node_def)


def _node(node: Any, function: str) -> Node:
    called = [one.value.func.name for one in node.attr]
    called += [each.name for one in node.attr for each in one.value.list.func]
    calls = tuple(name for name in called if name)
    return Node(node.name, node.op, tuple(node.input), calls, function)


def _signature(signature: Any) -> dict[str, Any]:
    return {
        "inputs": {one.key: _tensor(one.value) for one in signature.inputs},
        "outputs": {one.key: _tensor(one.value) for one in signature.outputs},
        "method_name": signature.method_name,
        "defaults": {},
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    shape = tensor.tensor_shape
    sizes = [{"size": str(one.size), "name": one.name} for one in shape.dim]
    return {
        "dtype": f"DT_{DTYPES.get(tensor.dtype, tensor.dtype)}",
        "tensor_shape": {"dim": sizes, "unknown_rank": shape.unknown_rank},
        "name": tensor.name,
    }
