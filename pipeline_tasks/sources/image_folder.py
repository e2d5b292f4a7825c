"""Images in one folder for each class: `<path>/<class>/*.png`, .jpg or .jpeg."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any

from pydantic import Field

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError, PipelineError
from pipeline_tasks.core.fingerprint import digest_of_file, digest_of_text
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data.tables import MEND
from pipeline_tasks.sources import expand

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FILE = "images.zip"
ENDINGS = (".png", ".jpg", ".jpeg")
MODES = {1: "L", 3: "RGB"}
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")
EXPECTED = "<path>/<class>/ with .png, .jpg or .jpeg files"


class Params(Frozen):
    """Where the folders are, and what is done about other sizes.

    source: {kind: image_folder, path: "${DATA}/flowers", resize: true}
    columns: {image: {type: image, shape: [64, 64, 3], min: 0, max: 255}}
    label: {name: kind, classes: [daisy, rose]}
    """

    path: str = Field(description="The folder of folders; ${NAME} is an environment variable.")
    resize: bool = Field(
        False,
        description="Make every image the declared size, whatever its proportions, by Pillow's "
        "bilinear method, which averages where it shrinks. Otherwise another size is an error.",
    )


def digest(params: Params) -> str:
    """The digest of the images' content and classes, in their order. Reads every byte once."""
    paths = _paths(params)
    return digest_of_text(" ".join(f"{path.parent.name}/{digest_of_file(path)}" for path in paths))


def fetch(params: Params, folder: Path) -> int:
    """Keep the files as they are, in one archive that is not compressed."""
    with zipfile.ZipFile(folder / FILE, "w", zipfile.ZIP_STORED) as archive:
        paths = _paths(params)
        for path in paths:
            # Without the file's date: the same images are the same archive.
            entry = zipfile.ZipInfo(f"{path.parent.name}/{path.name}")
            archive.writestr(entry, path.read_bytes())
    return len(paths)


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """One row for each image: its pixels, uint8, and its folder's name as the label.

    shape [height, width] and [height, width, 1] are grey (a coloured image by the luma of ITU-R
    BT.601), [height, width, 3] is red, green, blue; transparency is dropped. An image is turned
    as its EXIF data says. Raises DataError that names the file.
    """
    import numpy as np
    import pandas as pd

    name, shape = _image_column(config)
    with zipfile.ZipFile(folder / FILE) as archive:
        entries = archive.namelist()
        block = np.empty((len(entries), prod(shape)), dtype=np.uint8)
        for row, entry in enumerate(entries):
            with archive.open(entry) as file:
                block[row] = _pixels(params, file, entry, shape)
    columns = [f"{name}[{index}]" for index in range(prod(shape))]
    frame = pd.DataFrame(block, columns=columns, copy=False)
    frame[config.label.name] = _labels(params, entries, config)
    return frame


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0): the image's file."""
    try:
        root = Path(expand(params.path))
        folders = tuple((one, one.stat().st_mtime_ns) for one in _folders(root))
        return str(_listed(folders)[row])
    except (PipelineError, OSError, IndexError):
        return f"{params.path} image {row} (from 0)"


def _folders(root: Path) -> list[Path]:
    return sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))


@lru_cache(maxsize=4)
def _listed(folders: Sequence[tuple[Path, int]]) -> list[Path]:
    """The images of these folders, which were changed at these times, by class and name."""
    return [path for folder, _ in folders for path in _images(folder)]


def _images(folder: Path) -> Iterator[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    yield from sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _paths(params: Params) -> list[Path]:
    root = Path(expand(params.path))
    if not root.is_dir():
        raise DataError(
            f"{root}: there is no such folder",
            expected=EXPECTED,
            fix="put the folder there, or change source.path in the pipeline file",
        )
    found = []
    for folder in _folders(root):
        images = list(_images(folder))
        if not images:
            raise DataError(
                f"{folder}: there is no image in this class's folder",
                expected=EXPECTED,
                fix="add images, or remove the folder",
            )
        found += images
    if found:
        return found
    fix = "look at source.path: it names the folder above the classes"
    raise DataError(f"{root}: no folder of a class is in it", expected=EXPECTED, fix=fix)


def _image_column(config: PipelineConfig) -> tuple[str, tuple[int, ...]]:
    [name, column], *others = config.columns.items()
    shape = column.shape or ()
    if others or not shape or (*shape, 1)[2] not in MODES:
        raise DataError(
            f"columns {list(config.columns)} are not what a folder of images has",
            expected="one column, such as image: {type: image, shape: [64, 64, 3]}, with 1 or 3 "
            "colours",
            fix="declare that one column in the pipeline file",
        )
    return name, shape


def _labels(params: Params, entries: list[str], config: PipelineConfig) -> Any:
    names = [PurePath(entry).parent.name for entry in entries]
    if config.task != "regression" and isinstance(config.label.classes[0], str):
        return names
    kind = float if config.task == "regression" else int
    try:
        return [kind(name) for name in names]
    except ValueError as error:
        raise DataError(
            f"{params.path}: a folder is not called like a class: {error}",
            expected="a number" if kind is float else f"one of {list(config.label.classes)}",
            fix="rename the folder, or write the classes in quotes in the pipeline file",
        ) from error


def _pixels(
    params: Params, file: IO[bytes], entry: str, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    title = f"{params.path}/{entry}"
    try:
        with warnings.catch_warnings(action="error"), Image.open(file) as opened:
            _check_depth(opened.mode, title)
            turned = ImageOps.exif_transpose(opened)
            image = turned.convert(MODES[(*shape, 1)[2]])
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Warning) as error:
        raise DataError(
            f"{title}: cannot be read: {error}",
            expected="a whole image in the format that its name says",
            fix="write or fetch the file again, or remove it",
        ) from error
    size = (shape[1], shape[0])
    if image.size != size and not params.resize:
        raise DataError(
            f"{title}: is {image.size[0]} pixels wide and {image.size[1]} high",
            expected=f"{size[0]} wide and {size[1]} high",
            fix=f"say `resize: true` in source; or {MEND}",
        )
    resized = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8).reshape(-1)


def _check_depth(mode: str, title: str) -> None:
    if mode not in EIGHT_BITS:
        raise DataError(
            f"{title}: has the pixels {mode}",
            expected="eight bits for each colour: more would be cut off",
            fix="convert the image to eight bits",
        )
