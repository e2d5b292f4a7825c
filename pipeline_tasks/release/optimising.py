"""Variants of an exported model: made, measured against the trained model, kept or left out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.learning import stderr_kept_back
from pipeline_tasks.release import golden
from pipeline_tasks.sections import variants
from pipeline_tasks.sections.variants import Export, Variant, Variants

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]
    Call = Callable[[Arrays], Arrays]

log = logging.getLogger(__name__)

MANY_ROWS = 32


@dataclass(frozen=True)
class Exported:
    """What variants are made of and judged by.

    folder: with the SavedModel; loaded: that SavedModel, as a server loads it; rows: test rows;
    wanted: the trained model's answers to them; training: rows that int8 is calibrated with.
    """

    folder: Path
    loaded: Any
    rows: Arrays
    wanted: Arrays
    training: Callable[[], Arrays]


def optimise(exported: Exported, settings: Export) -> Variants:
    """Make the variants the pipeline file names, and write what they are like into the folder.

    Raises ConfigError when the one to be served could not be made or loses too much.
    """
    (exported.folder / variants.FOLDER).mkdir()
    kinds = (variants.TENSORFLOW, *settings.variants)
    tried = tuple(_tried(exported, kind, settings.tolerance) for kind in kinds)
    found = Variants(
        serve=_served(settings, tried), rows=len(next(iter(exported.rows.values()))), tried=tried
    )
    _show(found)
    (exported.folder / variants.REPORT).write_text(found.model_dump_json(indent=1))
    return found


def call_of(exported: Exported, kind: str) -> Call:
    """The function of a variant that was made, as its runtime answers it."""
    from pipeline_tasks.learning import converting
    from pipeline_tasks.serving.backends import litert, tensorflow

    path = exported.folder / variants.FOLDER / variants.FILES.get(kind, "")
    if kind in variants.LITERT:
        return litert.Graph(path).call
    if kind == "onnx":
        return converting.onnx_call(path)
    if kind == "xla":
        function = exported.loaded.signatures[variants.XLA_SIGNATURE]
        return tensorflow.padded(converting.tensorflow_call(function))
    return converting.tensorflow_call(exported.loaded.signatures[variants.SIGNATURE])


def _tried(exported: Exported, kind: str, tolerance: float) -> Variant:
    path = exported.folder / variants.FOLDER / variants.FILES.get(kind, "")
    with stderr_kept_back():
        try:
            _make(exported, kind, path)
            made = _measured(exported, kind)
        except Exception as error:  # whatever a converter raises, the SavedModel is there
            made = Variant(kind=kind, refused=f"not made: {_reason(error)}")
    if not made.refused and kind != variants.TENSORFLOW:
        made = made.model_copy(update={"refused": _loss(made, tolerance)})
    if made.refused and kind in variants.FILES:
        path.unlink(missing_ok=True)
    return made


def _make(exported: Exported, kind: str, path: Path) -> None:
    from pipeline_tasks.learning import converting

    if kind in variants.LITERT:
        _check_nothing_is_left_out(exported.folder)
        path.write_bytes(converting.litert(exported.loaded, kind, exported.training))
    if kind == "onnx":
        path.write_bytes(converting.onnx(exported.loaded))


def _check_nothing_is_left_out(folder: Path) -> None:
    """LiteRT has no Assert, and converts a graph without it: no test row would show that."""
    from pipeline_tasks.serving.versions import saved_model

    if any(node.op == "Assert" for node in saved_model.read(folder).nodes):
        raise ValueError("the graph refuses some rows (Assert), and LiteRT would answer them")


def _measured(exported: Exported, kind: str) -> Variant:
    from pipeline_tasks.learning.agreement import agreement, answers, milliseconds

    call = call_of(exported, kind)
    compared = agreement(exported.wanted, answers(call, exported.rows))
    one, many = (
        {name: values[:count] for name, values in exported.rows.items()} for count in (1, MANY_ROWS)
    )
    return Variant(
        kind=kind,
        bytes=_size(exported.folder, kind),
        ms_per_request=milliseconds(call, one),
        ms_per_32_rows=milliseconds(call, many),
        largest_difference=compared.largest_difference,
        same_labels=compared.same_labels,
    )


def _size(folder: Path, kind: str) -> int:
    if kind in variants.FILES:
        return (folder / variants.FOLDER / variants.FILES[kind]).stat().st_size
    paths = [folder / "saved_model.pb", *(folder / "variables").iterdir()]
    return sum(path.stat().st_size for path in paths)


def _loss(made: Variant, tolerance: float) -> str:
    """Why a variant loses too much, with the figures; empty when it does not."""
    difference = made.largest_difference
    far = f"its largest difference from the trained model is {difference:.3g}"
    if made.kind not in ("float16", "int8"):
        is_near = difference is not None and difference <= golden.TOLERANCE
        return "" if is_near else f"{far}, more than {golden.TOLERANCE:g}"
    if made.same_labels is None:
        is_near = difference is not None and difference <= tolerance
        return "" if is_near else f"{far}, more than the tolerance {tolerance:g}"
    if 1 - made.same_labels <= tolerance:
        return ""
    others = f"it labels {1 - made.same_labels:.2%} of the test rows otherwise"
    return f"{others}, more than the tolerance {tolerance:.2%}; {far}"


def _served(settings: Export, tried: tuple[Variant, ...]) -> str:
    refused = {one.kind: one.refused for one in tried}
    if settings.serve == "auto":
        return "litert" if refused.get("litert") == "" else variants.TENSORFLOW
    if reason := refused[settings.serve]:
        raise ConfigError(
            f"export: {settings.serve} is to be served, but {reason}",
            expected="a variant that answers as the trained model does, within its tolerance",
            fix="choose `serve: auto` or another variant, or a larger `tolerance`",
        )
    return settings.serve


def _reason(error: Exception) -> str:
    """The operations a converter has no counterpart for, or the first line of what it says."""
    text = str(error).strip() or type(error).__name__
    missing = sorted(set(re.findall(r"'tf\.(\w+)' op is neither", text)))
    if missing:
        return f"there is no built-in operation for {', '.join(missing)}"
    return text.splitlines()[0][:300]


def _show(found: Variants) -> None:
    table = list(found.table())
    whole = [row for row in table if row[-3:] != ("", "", "")]
    widths = [max(len(row[place]) for row in whole) for place in range(len(table[0]))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        log.info("%s", "  ".join(cells).rstrip())
