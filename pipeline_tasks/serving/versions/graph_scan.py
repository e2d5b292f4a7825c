"""Refuses, before it is loaded, a graph that would do more than compute.

A SavedModel is a program: its operations can read and write the server's files, run Python and
talk to other machines. None of that belongs into an answer, so none of it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.serving.versions.saved_model import Node, SavedModel

FORBIDDEN = {
    "runs Python": r"PyFunc|PyFuncStateless|EagerPyFunc",
    "reads or writes files": (
        r"ReadFile|WriteFile|MatchingFiles|RecordInput|ImmutableConst|FileSystemSetConfiguration"
        r"|Reader.*|\w*Reader(V2)?|InitializeTableFromTextFile(V2)?"
        r"|LoadAndRemapMatrix|GenerateVocabRemapping|DistributedSave|DTensorRestoreV2"
        r"|\w*SummaryWriter|\w*SummaryDbWriter|\w*SummaryFileWriter|Write\w*Summary"
        r"|PrintV2|Debug(?!Gradient)\w+"
    ),
    "reads data of its own": r"\w*Dataset\w*|\w*Iterator\w*",
    "talks to other processes": r"RemoteCall|Rpc\w+|_?(Host)?(Send|Recv)|Collective\w+|Nccl\w+",
}
# In every SavedModel, for its own variables: allowed where no answer and no start runs them.
SAVING = re.compile(r"Save(V2|Slices)?|Restore(V2|Slice)?|MergeV2Checkpoints")
SAVERS = re.compile(r"__inference__?traced_(save|restore)_\d+")


def check(folder: Path, found: SavedModel) -> None:
    """Raises ArtifactError that names the operation, where it is, and what it would do."""
    for node in found.nodes:
        for reason, pattern in FORBIDDEN.items():
            if re.fullmatch(pattern, node.op):
                raise _refused(folder, node, reason)
    for node in _started(found):
        if SAVING.fullmatch(node.op):
            raise _refused(folder, node, "reads or writes files")


def _started(found: SavedModel) -> list[Node]:
    """The nodes that run for an answer or at the start, and those of the functions they call."""
    graph = {node.name: node for node in found.nodes if not node.function}
    functions: dict[str, list[Node]] = {}
    for node in found.nodes:
        if node.function:
            functions.setdefault(node.function, []).append(node)
    outputs = [
        tensor["name"] for one in found.signatures.values() for tensor in one["outputs"].values()
    ]
    seen = {name for name in functions if not SAVERS.fullmatch(name)}
    waiting = _closure(map(_node_of, outputs), graph)
    waiting += [node for name in seen for node in functions[name]]
    reached: list[Node] = []
    while waiting:
        node = waiting.pop()
        reached.append(node)
        for name in set(node.calls) - seen:
            seen.add(name)
            waiting += functions.get(name, [])
    return reached


def _closure(names: Iterable[str], graph: dict[str, Node]) -> list[Node]:
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in graph and name not in seen:
            seen.add(name)
            waiting += map(_node_of, graph[name].inputs)
    return [graph[name] for name in seen]


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _refused(folder: Path, node: Node, reason: str) -> ArtifactError:
    where = f" in function {node.function}" if node.function else ""
    return ArtifactError(
        f"{folder} has the operation {node.op} ({node.name}{where}), which {reason}",
        expected="a graph that only computes",
        fix="do that before the request, in the pipeline, and export the model without it",
    )
