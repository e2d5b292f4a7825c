"""Rows as frames (one column a number, text or pixel) and as arrays (one array a column)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.observations import Observation, Prediction
from pipeline_tasks.settings import Column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.generic]]

LABEL = "_label"


def frame_columns(columns: Mapping[str, Column]) -> list[str]:
    """The names a frame of these columns has; an image's pixels come row by row.

    >>> frame_columns({"age": Column(type="number"), "scan": Column(type="image", shape=(1, 2))})
    ['age', 'scan[0]', 'scan[1]']
    """
    return [name for key, column in columns.items() for name in _names(key, column)]


def pixels(name: str, column: Column) -> list[str]:
    """The frame columns of one image column."""
    return [f"{name}[{index}]" for index in range(prod(column.shape or ()))]


def to_arrays(frame: pd.DataFrame, config: PipelineConfig) -> Arrays:
    """One array for each column, and `_label`: the index of the row's class, or its number.

    number: float32 (n,), NaN where missing; category: str (n,), "" where missing;
    image: float32 (n, height, width[, channels]); `_label`: int64 (n,), or float32 for a number.
    """
    import numpy as np

    arrays: Arrays = {name: _array(frame, name, column) for name, column in config.columns.items()}
    if config.task == "regression":
        arrays[LABEL] = frame[config.label.name].to_numpy(dtype=np.float32)
    else:
        index = {value: position for position, value in enumerate(config.label.classes)}
        arrays[LABEL] = frame[config.label.name].map(index).to_numpy(dtype=np.int64)
    return arrays


def from_observations(found: Sequence[Observation], config: PipelineConfig) -> pd.DataFrame:
    """Labelled observations as a frame like the source's: the client's inputs, the true label."""
    import numpy as np
    import pandas as pd

    parts: dict[str, object] = {}
    for name, column in config.columns.items():
        values = [pair.prediction.inputs.get(name) for pair in found]
        if column.type == "image":
            flat = np.asarray(values, dtype=np.float32).reshape(
                len(found), prod(column.shape or ())
            )
            parts |= dict(zip(pixels(name, column), flat.T, strict=True))
        else:
            parts[name] = pd.Series(values, dtype="float64" if column.type == "number" else "str")
    parts[config.label.name] = [pair.label.label for pair in found]
    return pd.DataFrame(parts)


def input_arrays(found: Sequence[Prediction], config: PipelineConfig) -> Arrays:
    """What clients sent, one array a column, as to_arrays makes them."""
    import numpy as np

    arrays: Arrays = {}
    for name, column in config.columns.items():
        values = [one.inputs.get(name) for one in found]
        if column.type == "category":
            arrays[name] = np.array(["" if value is None else value for value in values], np.str_)
        else:
            shape = (len(found), *(column.shape or ()))
            arrays[name] = np.array(values, dtype=np.float32).reshape(shape)
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays in one npz file, uncompressed: reading it costs a fifth of a compressed one."""
    import numpy as np

    named: dict[str, Any] = dict(arrays)
    np.savez(path, **named)


def read_arrays(path: Path) -> Arrays:
    """Every array of an npz file, by name."""
    import numpy as np

    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def _names(key: str, column: Column) -> list[str]:
    return pixels(key, column) if column.type == "image" else [key]


def _array(frame: pd.DataFrame, name: str, column: Column) -> NDArray[np.generic]:
    import numpy as np

    if column.type == "image":
        values = frame[pixels(name, column)].to_numpy(dtype=np.float32)
        return np.ascontiguousarray(values).reshape(-1, *(column.shape or ()))
    if column.type == "number":
        return frame[name].to_numpy(dtype=np.float32)
    return frame[name].fillna("").to_numpy(dtype=np.str_)
