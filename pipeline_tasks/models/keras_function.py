"""Any Keras model: a function of your own, named by its dotted path."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.core.fingerprint import digest_of_file
from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import keras


class Params(Frozen):
    """Where the function is, and what it is called with.

    model: {kind: keras_function, path: my_models.digits.residual, settings: {depth: 3}}
    """

    path: str = Field(pattern=r"^\w+(\.\w+)+$", description="package.module.function")
    settings: dict[str, JsonValue] = Field({}, description="Keyword arguments for the function.")


def build(params: Params, inputs: dict[str, keras.KerasTensor], outputs: int) -> keras.KerasTensor:
    """What the function answers: called with inputs (by column, each (n, ...)) and outputs.

    It must give logits (n, outputs). Raises ConfigError when there is no such function, or its
    answer has another shape.
    """
    logits = _function(params)(inputs, outputs, **params.settings)
    if tuple(logits.shape) != (None, outputs):
        raise ConfigError(
            f"model.path {params.path} gives shape {tuple(logits.shape)}",
            expected=f"logits of shape (None, {outputs})",
            fix="end the function with keras.layers.Dense(outputs)",
        )
    return logits


def digest(params: Params) -> str:
    """The digest of the file the function is in; what that file imports does not count."""
    spec = find_spec(params.path.rpartition(".")[0])
    return digest_of_file(Path(spec.origin)) if spec and spec.origin else ""


def _function(params: Params) -> Any:
    module, _, name = params.path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"model.path {params.path} cannot be imported: {error}",
            expected="a function of (inputs, outputs, **settings) that gives logits",
            fix="check the spelling, and that PYTHONPATH has the folder of its package",
        ) from error
