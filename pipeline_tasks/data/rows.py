"""Rows as frames (one column a number, text or pixel) and as arrays (one array a column)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.observations import Observation
from pipeline_tasks.sections.settings import Column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.generic]]

LABEL = "_label"
# The splits that candidate and champion are judged on, and the file of what only a champion takes.
JUDGING, OTHERS = ("test", "recent"), "_others"
# The parts of prose in an npz file.
BYTES, ENDS = "/bytes", "/ends"
# What preprocessing.json holds beside what was learned of each column.
OUTLIERS, FEATURES, CODE = "_outliers", "_features", "_code"


def inputs(config: PipelineConfig) -> dict[str, Column]:
    """The columns a client sends and the model sees."""
    return {name: column for name, column in config.columns.items() if column.is_input}


def observed(config: PipelineConfig) -> dict[str, Column]:
    """The inputs that servers log."""
    left_out = config.observation.leave_out
    return {name: column for name, column in inputs(config).items() if name not in left_out}


def at_source(config: PipelineConfig) -> PipelineConfig:
    """The pipeline with its columns under the names that they have in the source."""
    columns = {column.source_name or name: column for name, column in config.columns.items()}
    return config.model_copy(update={"columns": columns})


def renamed(frame: pd.DataFrame, config: PipelineConfig) -> pd.DataFrame:
    """A frame of the source with its columns under the pipeline's names."""
    names: dict[str, str] = {}
    for name, column in config.columns.items():
        there, here = _names(column.source_name or name, column), _names(name, column)
        names |= dict(zip(there, here, strict=True)) if there != here else {}
    return frame.rename(columns=names) if names else frame


def numbers(config: PipelineConfig) -> list[str]:
    """The names of the inputs that are numbers."""
    return [name for name, column in inputs(config).items() if column.type == "number"]


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
    """One array for each input column, and `_label`: the index of the row's class, or its number.

    number: float32 (n,), NaN where missing; category and date: str (n,), "" where missing; text:
    the same as objects; image: float32 (n, height, width[, channels]); `_label`: int64 (n,), or
    float32 for a number.
    """
    arrays = {name: to_array(frame, name, column) for name, column in inputs(config).items()}
    return arrays | {LABEL: to_labels(frame[config.label.name], config)}


def to_array(frame: pd.DataFrame, name: str, column: Column) -> NDArray[np.generic]:
    """One column's array; see to_arrays."""
    import numpy as np

    if column.type == "image":
        values = frame[pixels(name, column)].to_numpy(dtype=np.float32)
        return np.ascontiguousarray(values).reshape(-1, *(column.shape or ()))
    if column.type == "number":
        return frame[name].to_numpy(dtype=np.float32)
    return _texts(frame[name], as_objects=column.type == "text")


def to_labels(values: pd.Series[Any], config: PipelineConfig) -> NDArray[np.generic]:
    """The label's array; see to_arrays."""
    import numpy as np

    if config.task == "regression":
        return values.to_numpy(dtype=np.float32)
    index = {value: position for position, value in enumerate(config.label.classes)}
    return values.map(index).to_numpy(dtype=np.int64)


def from_observations(found: Sequence[Observation], config: PipelineConfig) -> pd.DataFrame:
    """Labelled observations as a frame like the source's: the client's inputs, the true label.

    A column that no client sends is missing everywhere, and so is text that was sent empty, and a
    label that the pipeline file does not know.
    """
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
        elif column.is_text:
            parts[name] = pd.Series([value or None for value in values], dtype="str")
        else:
            parts[name] = pd.Series(values, dtype="float64")
    told = [
        one if config.label.knows(one) else None for one in (pair.label.label for pair in found)
    ]
    is_number = config.task == "regression"
    parts[config.label.name] = pd.Series(told, dtype="float64" if is_number else None)
    return pd.DataFrame(parts)


def truths(labels: Sequence[str | float], config: PipelineConfig) -> NDArray[np.generic]:
    """Labels that the pipeline file knows, as `_label` in to_arrays."""
    import numpy as np

    if config.task == "regression":
        return np.array(labels, dtype=np.float32)
    classes: Sequence[str | float] = config.label.classes
    index = {one: place for place, one in enumerate(classes)}
    return np.array([index[label] for label in labels], dtype=np.int64)


class ArrayWriter:
    """Writes an npz file one array at a time, so that they need not all be in memory.

    Uncompressed: reading it costs a fifth of a compressed one. Prose, in arrays of objects, is
    kept as its bytes in UTF-8 and where each text ends.
    """

    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Add one array. Its name is what read_arrays calls it."""
        import numpy as np

        if array.dtype.kind == "O":
            texts = [str(text).encode() for text in array]
            self._write(f"{name}{BYTES}", np.frombuffer(b"".join(texts), dtype=np.uint8))
            array, name = np.cumsum([len(text) for text in texts], dtype=np.int64), f"{name}{ENDS}"
        self._write(name, array)

    def _write(self, name: str, array: NDArray[Any]) -> None:
        import numpy as np

        # The name and the date are as numpy.savez has them: the same arrays are the same file.
        with self._file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays in one npz file; see ArrayWriter."""
    with ArrayWriter(path) as writer:
        for name, array in arrays.items():
            writer.write(name, array)


def read_arrays(path: Path, only: Sequence[str] | None = None) -> Arrays:
    """Every array of an npz file, by name, or only these."""
    import numpy as np

    with np.load(path, allow_pickle=False) as kept:
        arrays: Arrays = {}
        for name in kept.files:
            key = name.removesuffix(ENDS).removesuffix(BYTES)
            if only is not None and key not in only:
                continue
            if name.endswith(ENDS):
                arrays[key] = prose(kept[f"{key}{BYTES}"].tobytes(), kept[name].tolist())
            elif not name.endswith(BYTES):
                arrays[name] = kept[name]
    return arrays


def prose(content: bytes, ends: Sequence[int]) -> NDArray[np.object_]:
    """Texts, an array of objects, from their bytes and where each of them ends."""
    import numpy as np

    array = np.empty(len(ends), dtype=object)
    starts = [0, *ends[:-1]] if len(ends) else []
    array[:] = [np.str_(content[a:b].decode()) for a, b in zip(starts, ends, strict=True)]
    return array


def _names(key: str, column: Column) -> list[str]:
    return pixels(key, column) if column.type == "image" else [key]


def _texts(values: pd.Series[Any], *, as_objects: bool) -> NDArray[np.generic]:
    """Text by way of what differs in it: as fast as numbers where much is the same.

    As objects where it is prose: the longest text would set the size of every one.
    """
    import numpy as np
    import pandas as pd

    codes, different = pd.factorize(values)
    # A str of NumPy's, even in an array of objects: each of them has `tolist`, as numbers have.
    known = [np.str_(value) for value in different] + [np.str_("")]
    array = np.empty(len(known), dtype=object)
    array[:] = known
    return (array if as_objects else array.astype(np.str_))[codes]
