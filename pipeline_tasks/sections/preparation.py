"""The pipeline file's section `preparation`: what happens to rows on their way to the model."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipeline_tasks.core import registry
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.sections.settings import Column, Outliers, Part, part_of
from pipeline_tasks.transforms import date_parts, words

# What a column of type date becomes when no feature says more.
DATE_PARTS = date_parts.Params(of=("",))


def _not_against_outliers(part: Part) -> Part:
    if not hasattr(registry.part("transforms", part.kind), "TAKES"):
        raise ValueError(f"{part.kind} is for outliers, and makes no feature")
    return part


Feature = Annotated[Part, part_of("transforms"), AfterValidator(_not_against_outliers)]


class Augmentation(Frozen):
    """How training images are varied in every epoch, each of them at random within these bounds."""

    shift: float = Field(0.0, ge=0, le=0.5, description="Share of height and of width.")
    rotate: float = Field(0.0, ge=0, le=180, description="Degrees.")
    zoom: float = Field(0.0, ge=0, lt=1, description="Share of the size, up or down.")
    noise: float = Field(0.0, ge=0, le=1, description="Deviation of what is added to pixels 0..1.")
    flip: bool = Field(False, description="Left and right change places in half of the images.")


class Balance(Frozen):
    """What makes rare classes count as much as frequent ones in training."""

    kind: Literal["weights", "oversample"] = "weights"
    limit: float = Field(100.0, ge=1, description="Most that a rare row counts, or is repeated.")


class Preparation(Frozen):
    """What happens to rows between the source and the model."""

    quarantine_limit: float = Field(
        0.1, ge=0, le=1, description="Largest share of rows that may be put aside."
    )
    outliers: Outliers | None = Field(None, description="Over all numbers of a row together.")
    features: dict[str, Feature] = Field({}, description="More columns for the model, by name.")
    augmentation: Augmentation | None = None
    balance: Balance | None = None


def words_of(column: Column) -> words.Params:
    """What a column of type text becomes when no feature says more."""
    return words.Params(of=("",), vocabulary=column.vocabulary, ngrams=column.ngrams)


def loaded(part: Part) -> tuple[ModuleType, Any]:
    """The module of a feature or of an outlier rule, and its Params."""
    settings = registry.params("transforms", part.kind, part.settings())
    return registry.part("transforms", part.kind), settings
