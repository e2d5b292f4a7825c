"""One loaded version: its signatures, ready to be called with batches, by one backend."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import verify_folder
from pipeline_tasks.sections import variants
from pipeline_tasks.serving.backends import litert, tensorflow
from pipeline_tasks.serving.versions import graph_scan, saved_model, warm_up
from pipeline_tasks.serving.versions.signatures import DEFAULT, Signature

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
    warm_up_seconds: float = 0.0


def load(folder: Path, *, name: str, version: int, backend: Backend = "auto") -> Model:
    """Check the folder against its manifest, load it, and answer its warm-up requests.

    backend: auto is what the export has chosen; litert, a LiteRT graph or nothing; tensorflow, the
    SavedModel whatever the export has chosen. Raises ArtifactError when the folder is not whole,
    its graph is refused or it has no such backend, and the backend's errors when it cannot be
    loaded or called.
    """
    verify_folder(folder)
    written = saved_model.read(folder)
    graph_scan.check(folder, written)
    chosen = _chosen(folder, backend)
    found = _signatures(folder, chosen, written)
    began = time.perf_counter()
    _warm_up(found, folder)
    seconds = time.perf_counter() - began
    log.info("%s version %s is answered by %s", name, version, chosen)
    return Model(name, version, chosen, found, _metadata(name, version, found, written), seconds)


def _chosen(folder: Path, backend: Backend) -> str:
    served = variants.served(folder)
    if backend == variants.TENSORFLOW:
        return variants.TENSORFLOW
    if backend == "litert" and served not in variants.LITERT:
        raise ArtifactError(
            f"{folder} has no LiteRT graph to be served: its export has chosen {served}",
            expected="a model whose export agreed on LiteRT",
            fix="start the server with --backend auto, or see the export's log for the reason",
        )
    return served


def _signatures(folder: Path, chosen: str, written: saved_model.SavedModel) -> dict[str, Signature]:
    if chosen in variants.LITERT:
        path = folder / variants.FOLDER / variants.FILES[chosen]
        return {DEFAULT: litert.signature(path)}
    if chosen == "xla":
        return {DEFAULT: tensorflow.compiled(folder)}
    return {
        key: replace(one, method=written.signatures[key]["method_name"])
        for key, one in tensorflow.signatures(folder).items()
    }


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


def _metadata(
    name: str, version: int, found: Mapping[str, Signature], written: saved_model.SavedModel
) -> dict[str, Any]:
    """As TensorFlow Serving tells it: what is written in the SavedModel, of what is served.

    What has no method, such as the initialisation, is shown there as well.
    """
    shown = {
        key: one
        for key, one in written.signatures.items()
        if key in found or not one["method_name"]
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": shown}},
    }
