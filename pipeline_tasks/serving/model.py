"""One loaded version: its signatures, ready to be called with batches, by one backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline_tasks import variants
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import verify_folder
from pipeline_tasks.serving import litert, savedmodel, warm_up
from pipeline_tasks.serving.codec import Array, Input
from pipeline_tasks.serving.signatures import DEFAULT, Signature

log = logging.getLogger(__name__)

Backend = Literal["auto", "litert", "tensorflow"]


@dataclass(frozen=True)
class Model:
    """A version that answers, by one signature or more; `backend` is the variant that does."""

    name: str
    version: int
    backend: str
    signatures: Mapping[str, Signature]
    metadata: dict[str, Any] = field(repr=False)

    @property
    def inputs(self) -> Mapping[str, Input]:
        """What the default signature takes."""
        return self.signatures[DEFAULT].inputs

    @property
    def call(self) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The default signature: one array an input, one an output."""
        return self.signatures[DEFAULT].call


def load(folder: Path, *, name: str, version: int, backend: Backend = "auto") -> Model:
    """Check the folder against its manifest, load it, and answer its warm-up requests.

    backend: auto is what the export has chosen; litert, a LiteRT graph or nothing; tensorflow, the
    SavedModel whatever the export has chosen. Raises ArtifactError when the folder is not whole or
    has no such backend, and the backend's errors when it cannot be loaded or called.
    """
    verify_folder(folder)
    chosen = _chosen(folder, backend)
    found = _signatures(folder, chosen)
    if DEFAULT not in found:
        raise ArtifactError(
            f"{folder} has no signature {DEFAULT!r}",
            expected=f"one called {DEFAULT!r}, found {sorted(found)}",
            fix="export the model with `export`",
        )
    _warm_up(found, folder)
    log.info("%s version %s is answered by %s", name, version, chosen)
    return Model(name, version, chosen, found, _metadata(name, version, found))


def _chosen(folder: Path, backend: Backend) -> str:
    report = variants.read(folder)
    served = report.serve if report else variants.TENSORFLOW
    if backend == variants.TENSORFLOW:
        return variants.TENSORFLOW
    if backend == "litert" and served not in variants.LITERT:
        raise ArtifactError(
            f"{folder} has no LiteRT graph to be served: its export has chosen {served}",
            expected="a model whose export agreed on LiteRT",
            fix="start the server with --backend auto, or see the export's log for the reason",
        )
    return served


def _signatures(folder: Path, chosen: str) -> Mapping[str, Signature]:
    if chosen in variants.LITERT:
        path = folder / variants.FOLDER / variants.FILES[chosen]
        return {DEFAULT: litert.signature(path)}
    if chosen == "xla":
        return {DEFAULT: savedmodel.compiled(folder)}
    return savedmodel.signatures(folder)


def _warm_up(found: Mapping[str, Signature], folder: Path) -> None:
    for request in warm_up.requests(folder):
        signature = found.get(request.signature or DEFAULT)
        if signature is None:
            raise ArtifactError(
                f"{folder / warm_up.FILE} asks the signature {request.signature!r}",
                expected=f"one of {sorted(found)}",
                fix="export the model again",
            )
        if request.arrays.keys() != signature.inputs.keys():
            raise ArtifactError(
                f"{folder / warm_up.FILE} has the inputs {sorted(request.arrays)}",
                expected=f"{sorted(signature.inputs)}",
                fix="export the model again",
            )
        signature.call(request.arrays)


def _metadata(name: str, version: int, found: Mapping[str, Signature]) -> dict[str, Any]:
    definitions = {
        key: {
            "inputs": {name: _tensor_info(key, name, one) for name, one in each.inputs.items()},
            "outputs": {name: _tensor_info(key, name, one) for name, one in each.outputs.items()},
            "method_name": each.method,
            "defaults": {},
        }
        for key, each in found.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _tensor_info(signature: str, name: str, spec: Input) -> dict[str, Any]:
    sizes = [-1 if size is None else size for size in spec.shape]
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}
    kind = "STRING" if spec.dtype == np.dtype(object) else spec.dtype.name.upper()
    dtype = {"FLOAT32": "FLOAT", "FLOAT64": "DOUBLE", "FLOAT16": "HALF"}.get(kind, kind)
    return {"dtype": f"DT_{dtype}", "tensor_shape": shape, "name": f"{signature}_{name}:0"}
