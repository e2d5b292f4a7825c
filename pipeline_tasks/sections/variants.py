"""The pipeline file's section `export`, and what an exported folder says about its variants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.values import Frozen

# The SavedModel's own signature, which is always there.
TENSORFLOW = "tensorflow"
# What a file of each kind is called; xla is a signature of the SavedModel itself.
FOLDER = Path("variants")
FILES = {
    "litert": "litert.tflite",
    "float16": "float16.tflite",
    "int8": "int8.tflite",
    "onnx": "model.onnx",
}
LITERT = ("litert", "float16", "int8")
SIGNATURE, XLA_SIGNATURE = "serving_default", "serving_xla"
REPORT = FOLDER / "variants.json"

Kind = Literal["litert", "float16", "int8", "onnx", "xla"]


class Export(Frozen):
    """The optimised forms of a model made beside its SavedModel, and the one that answers."""

    variants: tuple[Kind, ...] = Field(
        ("litert",),
        description="litert, float16, int8: graphs of LiteRT's built-in operations, full size, "
        "with half and with quarter weights; onnx: for other servers; xla: a compiled signature.",
    )
    serve: Literal["auto", "tensorflow", "litert", "float16", "int8", "xla"] = Field(
        "auto",
        description="What the model server answers with. auto: litert if it was made and agrees "
        "with the trained model, else the SavedModel's signature.",
    )
    tolerance: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="What float16 and int8 may lose: the share of test rows with another label, "
        "or the largest relative difference of a number. The others must agree within 1e-5.",
    )

    @model_validator(mode="after")
    def _what_is_served_is_made(self) -> Self:
        if self.serve not in ("auto", TENSORFLOW, *self.variants):
            raise ValueError(f"`serve: {self.serve}` needs {self.serve} among `variants`")
        return self


class Variant(Frozen):
    """One form of the exported model, measured on test rows when it was made.

    ms_per_request: median of one row at a time; ms_per_32_rows: of 32 rows at once.
    largest_difference: of a probability, or of a number relative to its size, from the trained
    model; same_labels: share of rows, None for numbers. refused: why it was left out.
    """

    kind: str
    bytes: int = 0
    ms_per_request: float | None = None
    ms_per_32_rows: float | None = None
    largest_difference: float | None = None
    same_labels: float | None = None
    refused: str = ""


class Variants(Frozen):
    """Every variant that was tried, and the one to be served; `rows` is what they agreed on."""

    serve: str
    rows: int
    tried: tuple[Variant, ...]

    def table(self) -> Iterator[tuple[str, ...]]:
        """The variants as lines of a table, under its titles."""
        yield ("variant", "bytes", "ms a request", "ms for 32 rows", "largest difference", "labels")
        for one in self.tried:
            kind = f"{one.kind}, served" if one.kind == self.serve else one.kind
            if one.refused:
                yield (kind, "left out", one.refused, "", "", "")
            else:
                same = "" if one.same_labels is None else f"{one.same_labels:.2%} the same"
                numbers = (one.ms_per_request, one.ms_per_32_rows, one.largest_difference)
                yield (kind, str(one.bytes), *map(_text, numbers), same)


def read(folder: Path) -> Variants | None:
    """What an exported folder says about its variants, or None where nothing was written.

    Raises ArtifactError when it cannot be read.
    """
    path = folder / REPORT
    try:
        return Variants.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}", fix="export again") from None


def served(folder: Path) -> str:
    """The variant that answers for an exported folder."""
    found = read(folder)
    return found.serve if found else TENSORFLOW


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
