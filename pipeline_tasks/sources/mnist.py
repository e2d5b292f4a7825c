"""MNIST: 70,000 handwritten digits of 28 by 28 pixels (LeCun, Cortes and Burges)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError, TransientError
from pipeline_tasks.core.fingerprint import digest_of_file
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.sources import expand

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FILE = "mnist.npz"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
PIXELS = 28 * 28


class Params(Frozen):
    """Where the file is, and which of its digits this pipeline may see.

    source: {kind: mnist, path: "${PERENNIAL_TEST_DATA}/mnist.npz", split: all}
    """

    path: str | None = Field(
        None,
        description="An mnist.npz as Keras has it; ${NAME} is an environment variable. Without it, "
        "Keras downloads the file once.",
    )
    split: Literal["train", "test", "all"] = Field(
        "all", description="all: the 60,000 training digits first, then the 10,000 test digits."
    )
    first: int = Field(0, ge=0, description="The first digit of these, from 0.")
    last: int | None = Field(None, ge=0, description="The last one; nothing for all of them.")

    @model_validator(mode="after")
    def _first_is_not_behind_last(self) -> Self:
        if self.last is not None and self.last < self.first:
            raise ValueError(f"first {self.first} must not be greater than last {self.last}")
        return self


def digest(params: Params) -> str:
    """The file's digest, and which of its rows are taken."""
    return f"{digest_of_file(_path(params))} {params.split} {params.first}-{params.last}"


def fetch(params: Params, folder: Path) -> int:
    """Keep the chosen digits, uncompressed: reading them costs a fifth of a compressed file."""
    import numpy as np

    images, labels = _chosen(params)
    np.savez(folder / FILE, images=images, labels=labels)
    return len(labels)


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The kept digits, one row each: `<image>[0]` to `<image>[783]`, uint8, and the label.

    The pipeline's one image column and its label may have any name.
    """
    import numpy as np
    import pandas as pd

    [name] = _image_columns(config)
    with np.load(folder / FILE) as kept:
        block, labels = kept["images"].reshape(-1, PIXELS), kept["labels"]
    columns = [f"{name}[{index}]" for index in range(PIXELS)]
    frame = pd.DataFrame(block, columns=columns, copy=False)
    frame[config.label.name] = labels.astype(np.int64)
    return frame


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0)."""
    return f"{params.path or FILE} {params.split} digit {params.first + row}"


def _image_columns(config: PipelineConfig) -> list[str]:
    names = [name for name, column in config.columns.items() if column.shape]
    shapes = [config.columns[name].shape for name in names]
    if len(config.columns) == 1 and shapes in ([(28, 28)], [(28, 28, 1)]):
        return names
    raise DataError(
        f"columns {list(config.columns)} are not what MNIST has",
        expected="one column, such as image: {type: image, shape: [28, 28], min: 0, max: 255}",
        fix="declare that one column in the pipeline file",
    )


def _chosen(params: Params) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    import numpy as np

    path = _path(params)
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = {name: kept[name] for name in ARRAYS}
    except (ValueError, KeyError, OSError) as error:
        raise DataError(
            f"{path} is not MNIST: {error}",
            expected=f"an npz file with the arrays {', '.join(ARRAYS)}",
            fix="leave source.path out, and Keras downloads the right file",
        ) from error
    parts = {"train": ["train"], "test": ["test"], "all": ["train", "test"]}[params.split]
    images = np.concatenate([found[f"x_{part}"] for part in parts])
    labels = np.concatenate([found[f"y_{part}"] for part in parts])
    end = None if params.last is None else params.last + 1
    if params.first >= len(labels):
        raise DataError(
            f"source.first {params.first} is behind the last of {len(labels)} digits",
            expected=f"a number below {len(labels)}",
            fix="mend source.first, or choose another source.split",
        )
    return images[params.first : end], labels[params.first : end]


def _path(params: Params) -> Path:
    if params.path is None:
        return _downloaded()
    path = Path(expand(params.path))
    if not path.is_file():
        raise DataError(
            f"there is no file {path}",
            expected="an mnist.npz as Keras has it",
            fix="mend source.path, or leave it out, and Keras downloads the file",
        )
    return path


def _downloaded() -> Path:
    kept = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets" / FILE
    if not kept.is_file():
        import keras

        try:
            keras.datasets.mnist.load_data()
        except Exception as error:  # whatever the download meets, another try may do
            raise TransientError(
                f"MNIST could not be downloaded: {error}",
                fix="try again, or put mnist.npz on this machine and name it in source.path",
            ) from error
    return kept
