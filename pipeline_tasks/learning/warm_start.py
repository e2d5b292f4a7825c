"""Training that goes on from the champion's weights in place of random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import read_json, read_manifest
from pipeline_tasks.core.values import Frozen, Ref
from pipeline_tasks.run import Run

if TYPE_CHECKING:
    import keras

    from pipeline_tasks.learning.encoding import Learned

START, WEIGHTS, PREPROCESSING = "start.json", "weights.npz", "preprocessing.json"


class Start(Frozen):
    """Whose weights training begins with, and the rows that those were learned from."""

    model: Ref
    prepared: Ref


def found(run: Run, prepared: Ref) -> Start | None:
    """The champion's; where it was trained on these very rows, what it began with itself.

    So a run in which nothing has changed asks for the training that there has been already.
    """
    champion = run.store.champion(run.config.name)
    if run.config.training.start == "fresh" or champion is None:
        return None
    if champion.prepared.digest != prepared.digest:
        return Start(model=champion.model, prepared=champion.prepared)
    try:
        path = run.open(champion.model) / START
    except ArtifactError:
        return None
    return Start.model_validate_json(path.read_text()) if path.is_file() else None


def digest(run: Run, prepared: Ref) -> str:
    """What the weights at the beginning depend on, for the fingerprint."""
    start = found(run, prepared)
    return start.model.digest + start.prepared.digest if start else ""


def take(run: Run, start: Start, model: keras.Model, learned: Learned) -> str:
    """Put the weights into the model; why that cannot be, or nothing when it is done."""
    import numpy as np

    try:
        kept, before = run.open(start.model), read_json(run.open(start.prepared) / PREPROCESSING)
    except ArtifactError as error:
        return f"they are not there any more ({error.what})"
    if why := _other_meaning(run, read_manifest(kept).settings, before, learned):
        return why
    with np.load(kept / WEIGHTS, allow_pickle=False) as arrays:
        weights = [arrays[name] for name in arrays.files]
    shapes = [tuple(one.shape) for one in weights]
    wanted = [tuple(variable.shape) for variable in model.weights]
    if shapes != wanted:
        return f"their shapes are {shapes}, and this model's are {wanted}"
    for variable, values in zip(model.weights, weights, strict=True):
        variable.assign(values)
    return ""


def _other_meaning(run: Run, settings: Any, before: Any, learned: Learned) -> str:
    """What makes equal shapes mean something else: another family, other classes or words."""
    config = run.config
    if settings["model"]["kind"] != config.model.kind:
        return f"they are of a {settings['model']['kind']}, and this is a {config.model.kind}"
    if settings["label"] != config.section("label"):
        return "they are of another label"
    for name, content in learned.items():
        if not name.startswith("_") and _words(before.get(name)) != _words(content):
            return f"the values of {name} are numbered otherwise"
    return ""


def _words(content: Any) -> list[JsonValue]:
    return [one for one in content.values() if isinstance(one, list)] if content else []
