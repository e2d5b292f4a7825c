"""Parts are found by file name: `model: {kind: mlp}` is `pipeline_tasks/models/mlp.py`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel

from pipeline_tasks.core.errors import UnknownPartError

PACKAGE = Path(__file__).parent.parent


def known(folder: str) -> list[str]:
    """The kinds that `folder` has a file for, sorted.

    >>> "accuracy" in known("metrics")
    True
    """
    return sorted(path.stem for path in (PACKAGE / folder).glob("*.py") if path.stem != "__init__")


def part(folder: str, kind: str) -> ModuleType:
    """The module of one part; its heavy imports happen when it is used, not here.

    Raises UnknownPartError with the known names when there is no such file.
    """
    names = known(folder)
    if kind not in names:
        raise UnknownPartError(
            f"no {folder} part is called {kind!r}",
            expected=", ".join(names),
            fix=f"use one of these names, or add pipeline_tasks/{folder}/{kind}.py",
        )
    return import_module(f"pipeline_tasks.{folder}.{kind}")


def params(folder: str, kind: str, settings: Mapping[str, object]) -> BaseModel:
    """The part's own `Params`, filled and checked.

    Raises pydantic.ValidationError, a ValueError, when a setting is wrong.
    """
    validated = part(folder, kind).Params.model_validate(dict(settings))
    assert isinstance(validated, BaseModel)
    return validated
