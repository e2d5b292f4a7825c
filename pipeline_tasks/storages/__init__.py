"""Where prepared rows are kept: one file, one kind of storage.

Rows are prepared as arrays in files (rows.ArrayWriter), a column at a time, and stay that where the
pipeline names no storage. A storage has them instead, and storage.json says where and which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ArtifactError, DataError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import array_slices, rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "storage.json"
SLICE_ROWS = 10_000


class Facts(Frozen):
    """One column: NumPy's name of its type (O is prose), the shape of a row's value, its digest."""

    kind: str
    shape: tuple[int, ...]
    digest: str

    @property
    def letter(self) -> str:
        """f for numbers, i for whole ones, U for text, O for prose."""
        return self.kind.lstrip("<>|=")[0]


class Part(Frozen):
    """One part of the rows, such as `train`: how many there are, and their columns."""

    rows: int
    columns: dict[str, Facts]


class Kept(Frozen):
    """What storage.json says: the kind of storage with its settings, and what it was given."""

    kind: str
    settings: dict[str, Any]
    parts: dict[str, Part]

    @property
    def digest(self) -> str:
        """Of all rows together."""
        return digest_of_text("".join(f"{name} {part}" for name, part in self.parts.items()))


def keep(config: PipelineConfig, run: str, folder: Path) -> None:
    """Give the arrays in `folder` to the pipeline's storage, if it has one, instead."""
    if config.storage is None:
        return
    kind, settings = config.storage.kind, config.storage.settings()
    files = sorted(folder.glob("*.npz"))
    kept = Kept(kind=kind, settings=settings, parts={path.stem: _part(path) for path in files})
    params = registry.params("storages", kind, settings)
    registry.part("storages", kind).keep(params, folder, kept, (config.name, run))
    for path in files:
        path.unlink()
    (folder / FILE).write_text(kept.model_dump_json(indent=1))


def has(folder: Path, part: str) -> bool:
    """Whether the rows have this part."""
    kept = _kept(folder)
    return part in kept.parts if kept else (folder / f"{part}.npz").is_file()


def read(folder: Path, part: str, only: Sequence[str] | None = None) -> rows.Arrays:
    """The arrays of one part as they were prepared, or only some of its columns.

    Raises ArtifactError when they are no longer there or what they were, TransientError when the
    storage does not answer.
    """
    kept = _kept(folder)
    if kept is None:
        return rows.read_arrays(folder / f"{part}.npz", only)
    params = registry.params("storages", kept.kind, kept.settings)
    known = kept.parts[part].columns
    names = [name for name in known if only is None or name in only]
    module, fix = registry.part("storages", kept.kind), "run with `force`: it prepares them again"
    try:
        found: rows.Arrays = module.read(params, folder, kept, part, names)
    except DataError as error:
        what = f"the rows of {part} cannot be read from storage {kept.kind}: {error.what}"
        raise ArtifactError(what, expected="what prepare kept there", fix=fix) from None
    for name, array in found.items():
        if _digest([array]) != known[name].digest:
            what = f"storage {kept.kind}: column {name} of {part} is not what was prepared"
            expected = f"{kept.parts[part].rows} rows of digest {known[name].digest}"
            raise ArtifactError(what, expected=expected, fix=fix)
    return found


def empty(part: Part, names: Sequence[str]) -> rows.Arrays:
    """Arrays to be filled with these columns of a part."""
    import numpy as np

    columns = {name: part.columns[name] for name in names}
    return {
        name: np.empty((part.rows, *facts.shape), dtype=facts.kind)
        for name, facts in columns.items()
    }


def plain(values: NDArray[Any]) -> list[Any]:
    """A column as other systems have it: None where missing, an image as its bytes.

    >>> import numpy as np
    >>> plain(np.array([1.5, np.nan], dtype="float32")), plain(np.array(["a", ""]))
    ([1.5, None], ['a', None])
    """
    import numpy as np

    if values.ndim > 1:
        return [row.tobytes() for row in values]
    found = list(values.tolist())
    if values.dtype.kind == "f":
        for index in np.flatnonzero(np.isnan(values)).tolist():
            found[index] = None
    return [str(value) or None for value in found] if values.dtype.kind in "UO" else found


def array(values: Sequence[Any], facts: Facts) -> NDArray[Any]:
    """The column that `plain` took apart."""
    import numpy as np

    if facts.shape:
        content = b"".join(bytes(value) for value in values)
        return np.frombuffer(content, dtype=facts.kind).reshape(-1, *facts.shape)
    if facts.letter == "O":
        found = np.empty(len(values), dtype=object)
        found[:] = [np.str_(value or "") for value in values]
        return found
    texts = [value or "" for value in values] if facts.letter == "U" else values
    return np.array(texts, dtype=facts.kind)


def _kept(folder: Path) -> Kept | None:
    path = folder / FILE
    return Kept.model_validate_json(path.read_text()) if path.is_file() else None


def _part(path: Path) -> Part:
    """What is in a file; it is read once, a slice of a column at a time."""
    with array_slices.columns(path) as found:
        count = next(iter(found.values())).rows
        facts = {
            name: Facts(
                kind=one.kind,
                shape=one.shape,
                digest=_digest(some[name] for some in array_slices.slices({name: one}, SLICE_ROWS)),
            )
            for name, one in found.items()
        }
    return Part(rows=count, columns=facts)


def _digest(slices: Iterable[NDArray[Any]]) -> str:
    """Of a column, however it is sliced; what is missing is equal, whichever NaN it is."""
    import numpy as np

    digest = hashlib.sha256()
    for values in slices:
        if values.dtype.kind == "O":
            texts = [str(value).encode() for value in values]
            digest.update(b"".join(len(text).to_bytes(8) + text for text in texts))
        elif values.dtype.kind == "f" and values.ndim == 1:
            digest.update(np.where(np.isnan(values), np.float32(np.nan), values).tobytes())
        else:
            digest.update(values.tobytes())
    return digest.hexdigest()
