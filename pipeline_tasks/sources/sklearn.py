"""Data sets that ship with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.fingerprint import library_versions
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import tables

if TYPE_CHECKING:
    import pandas as pd

FILE = "rows.parquet"
TARGET, CLASS = "_target", "_class"


class Params(Frozen):
    """Which data set. Its columns have the names that scikit-learn gives them.

    source: {kind: sklearn, name: iris}
    columns: {petal_length: {type: number, from: petal length (cm)}}
    label: {name: species, classes: [setosa, versicolor, virginica]}
    """

    name: Literal["iris", "wine", "breast_cancer", "diabetes", "digits"] = Field(
        description="diabetes has a number to be answered, the others have classes. digits has "
        "one image column of shape [8, 8], from 0 to 16, with any name."
    )


def digest(params: Params) -> str:
    """What the rows depend on: the library that they ship with, and the data set's name."""
    return f"scikit-learn {library_versions()['scikit-learn']} {params.name}"


def fetch(params: Params, folder: Path) -> int:
    """Keep every column; `_target` is the class's index or the number, `_class` its name."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{params.name}")(as_frame=True)
    frame = bunch.data.assign(**{TARGET: bunch.target})
    names = [str(name) for name in bunch.get("target_names", ())]
    if names:
        frame = frame.assign(**{CLASS: [names[index] for index in bunch.target]})
    frame.to_parquet(folder / FILE, index=False)
    return len(frame)


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The declared columns, and the label under any name.

    The label is the class's name where the classes are texts, and its index where they are
    numbers. Raises DataError for a column that the data set does not have.
    """
    table = _table(params, folder, config)
    label = config.label
    by_name = bool(label.classes) and isinstance(label.classes[0], str)
    if (label.type == "number") == (CLASS in table):
        raise DataError(
            f"{params.name} has {'classes' if CLASS in table else 'a number'} to be answered, "
            f"and the label {label.name} is {'a number' if label.type == 'number' else 'a class'}",
            expected=f"classes {list(table[CLASS].unique())}" if CLASS in table else "type: number",
            fix="mend label in the pipeline file",
        )
    table = table.rename(columns={CLASS if by_name else TARGET: label.name})
    tables.check_names(list(table), config, f"data set {params.name}")
    return tables.typed(table, config, lambda row: place(params, row))


def undeclared(params: Params, folder: Path, config: PipelineConfig) -> list[str]:
    """Columns of the data set that the pipeline file does not declare."""
    names = [name for name in _table(params, folder, config) if name not in (TARGET, CLASS)]
    return tables.undeclared(names, config)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0)."""
    return f"{params.name} row {row} (from 0)"


def _table(params: Params, folder: Path, config: PipelineConfig) -> Any:
    """What was kept; the pixels of digits are called as the pipeline file calls its image."""
    import pandas as pd

    table = pd.read_parquet(folder / FILE)
    image = next((name for name, column in config.columns.items() if column.shape), None)
    if params.name == "digits" and image is not None:
        pixels = [name for name in table if name not in (TARGET, CLASS)]
        table = table.rename(columns={name: f"{image}[{i}]" for i, name in enumerate(pixels)})
    return table
