"""Handwritten digits that ship with scikit-learn: 1,797 real scans of 8 by 8 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.fingerprint import library_versions
from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FILE = "digits.parquet"


class Params(Frozen):
    """Which of the scans this pipeline may see.

    source: {kind: digits, first: 0, last: 999}
    columns: {image: {type: image, shape: [8, 8], min: 0, max: 16}}
    label: {name: digit, classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
    """

    first: int = Field(0, ge=0, lt=1797)
    last: int = Field(1796, ge=0, lt=1797)


def digest(params: Params) -> str:
    """What the rows depend on: the bundled data set and the range."""
    return f"scikit-learn {library_versions()['scikit-learn']} {params.first}-{params.last}"


def fetch(params: Params, folder: Path) -> int:
    """Keep the chosen scans in `folder`."""
    import pandas as pd

    images, labels = load()
    chosen = slice(params.first, params.last + 1)
    flat = images[chosen].reshape(-1, 64)
    names = [f"image[{index}]" for index in range(64)]
    frame = pd.DataFrame(flat, columns=names).assign(digit=labels[chosen])
    frame.to_parquet(folder / FILE, index=False)
    return len(frame)


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The kept scans, one row each: image[0] to image[63] from 0 to 16, and `digit`."""
    import pandas as pd

    return pd.read_parquet(folder / FILE)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0)."""
    return f"digit {params.first + row}"


def load() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All scans: images (1797, 8, 8) from 0 to 16, and the digits they show (1797,)."""
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.float32), bunch.target.astype(np.int64)
