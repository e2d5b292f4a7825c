"""The sections of a pipeline file: each a frozen value that says what its keys mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import UnknownPartError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.sections import column_rules

SLICED = ("number", "category")


class Part(BaseModel):
    """One interchangeable part: `kind` names its file, the other keys are that file's Params."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    def settings(self) -> dict[str, JsonValue]:
        """Everything but the kind."""
        return dict(self.__pydantic_extra__ or {})


def part_of(folder: str) -> AfterValidator:
    """A validator: the part exists, and takes these settings."""

    def check(part: Part) -> Part:
        try:
            registry.params(folder, part.kind, part.settings())
        except UnknownPartError as error:
            raise PydanticCustomError("unknown_part", "{text}", {"text": str(error)}) from error
        except ValidationError as error:
            raise PydanticCustomError("part", "", {"errors": error.errors()}) from error
        return part

    return AfterValidator(check)


def _metric(kind: str) -> str:
    try:
        registry.part("metrics", kind)
    except UnknownPartError as error:
        raise PydanticCustomError("unknown_part", "{text}", {"text": str(error)}) from error
    return kind


MetricName = Annotated[str, AfterValidator(_metric)]
Share = Annotated[float, Field(ge=0, lt=1)]


def _against_outliers(part: Part) -> Part:
    if not hasattr(registry.part("transforms", part.kind), "keep"):
        raise ValueError(f"{part.kind} is a feature, and does nothing about outliers")
    return part


Outliers = Annotated[Part, part_of("transforms"), AfterValidator(_against_outliers)]


class Correction(Frozen):
    """A rule that rewrites text: every match of a regular expression (RE2) becomes `with`."""

    pattern: Annotated[str, AfterValidator(column_rules.expression)]
    text: str = Field(alias="with", description="What takes its place; \\1 is the first group.")


class Column(Frozen):
    """One input of the model, as the source delivers it and as a client sends it."""

    type: Literal["number", "category", "text", "date", "image"] = Field(
        description="date: text in ISO format, such as 2026-01-31 or 2026-01-31T13:45."
    )
    source_name: str | None = Field(
        None, alias="from", description="Its name in the source, where that is another one."
    )
    is_input: bool = Field(
        True, alias="input", description="false: for checks and splits only; no client sends it."
    )
    minimum: float | None = Field(None, alias="min")
    maximum: float | None = Field(None, alias="max")
    values: tuple[str, ...] | None = None
    pattern: Annotated[str, AfterValidator(column_rules.expression)] | None = Field(
        None, description="A regular expression that every whole value matches."
    )
    shape: tuple[int, int] | tuple[int, int, int] | None = None
    nullable: bool = False
    null_rate: float | None = Field(
        None, ge=0, le=1, description="Largest share of missing values; the column is nullable."
    )
    unique: bool = False
    on_failure: Literal["fail", "quarantine"] = Field(
        "fail", description="quarantine: keep rows that break a rule aside and go on."
    )
    replace: Annotated[dict[str, str | float | None], BeforeValidator(column_rules.text_keys)] = (
        Field({}, description="Values that stand for others, or (null) for a missing one.")
    )
    correct: tuple[Correction, ...] = ()
    missing: Literal["median", "mode", "constant", "drop"] | None = Field(
        None,
        description="What a missing value becomes; drop: training rows without one are left out. "
        "Unless given: the median of numbers, a value of its own in text.",
    )
    fill: float | str | None = Field(None, description="The value of `missing: constant`.")
    indicator: bool | None = Field(
        None, description="Tell the model what was missing. Unless given: for nullable numbers."
    )
    outliers: Outliers | None = None
    vocabulary: int = Field(
        1000, ge=1, le=1_000_000, description="Most frequent values or words kept, at most."
    )
    ngrams: int = Field(1, ge=1, le=3, description="Words in a row that count as one, at most.")

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> Self:
        if (self.type == "image") != (self.shape is not None):
            raise ValueError("an image needs `shape: [height, width]`, and nothing else has one")
        fields = type(self).model_fields
        given = {name for name in fields if getattr(self, name) != fields[name].default}
        if wrong := column_rules.misplaced(self.type, given):
            raise ValueError(f"a column of type {self.type} has no `{wrong}`")
        if (self.missing == "constant") != (self.fill is not None):
            raise ValueError("`missing: constant` needs `fill: ...`, and nothing else has one")
        column_rules.check_values(
            self.type, [*self.replace, *self.replace.values(), self.fill], self.missing
        )
        return self

    @property
    def is_text(self) -> bool:
        """A client sends text: a category, prose or a date."""
        return self.type in column_rules.TEXTS

    @property
    def may_be_missing(self) -> bool:
        """Rows without a value pass the check."""
        return self.nullable or self.null_rate is not None

    @property
    def tells_missing(self) -> bool:
        """The encoding has a column of its own for what was missing."""
        if self.indicator is not None:
            return self.indicator
        return self.type == "number" and self.may_be_missing


class Label(Frozen):
    """What the model answers: one of these classes, or, for the type number, a number."""

    name: str
    type: Literal["class", "number"] = "class"
    classes: tuple[int, ...] | tuple[str, ...] = ()
    minimum: float | None = Field(None, alias="min")
    maximum: float | None = Field(None, alias="max")

    @model_validator(mode="after")
    def _classes_are_for_classes(self) -> Self:
        if self.type == "class" and len(set(self.classes)) < 2:
            raise ValueError("needs `classes: [...]`, at least two different ones")
        if self.type == "number" and self.classes:
            raise ValueError("a number has no `classes`; use `min` and `max` to bound it")
        return self

    @property
    def task(self) -> Literal["binary", "multiclass", "regression"]:
        """What kind of answer it asks for."""
        if self.type == "number":
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"

    def knows(self, value: str | float) -> bool:
        """Whether a truth that a client tells is one that a model of this label may answer."""
        if self.type == "number":
            return not isinstance(value, str) and math.isfinite(value)
        return value in self.classes


class Split(Frozen):
    """How rows are divided: disjoint, and the same row on the same side in every run."""

    by: Literal["hash", "label", "time", "group"] = Field(
        "hash",
        description="hash: by the row's content; label: the same within each class; "
        "time: the last rows validate and test; group: rows of one group stay together",
    )
    column: str | None = Field(
        None, description="What groups rows, or what they are ordered by in time."
    )
    validation: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _groups_need_a_column(self) -> Self:
        if self.by == "group" and self.column is None:
            raise ValueError("`by: group` needs `column: ...`")
        if self.by in ("hash", "label") and self.column is not None:
            raise ValueError(f"`by: {self.by}` has no column")
        return self


class Promotion(Frozen):
    """What a candidate must show before it replaces the champion."""

    metric: MetricName = "accuracy"
    approval: Literal["never", "refused", "always"] = Field(
        "never", description="When a person is asked: on a refusal, before every promotion."
    )
    minimum: float | None = Field(
        None, description="On test rows, champion or not; a maximum where lower is better."
    )
    thresholds: dict[MetricName, float] = Field(
        {}, description="The same for other metrics, each in its own direction."
    )
    margin: float = Field(
        0.0,
        description="How much worse than the champion is still no loss; of rmse and mae, which "
        "have the label's unit, a share of the champion's.",
    )
    on_test: Literal["not_proven_worse", "not_worse", "proven_not_worse"] = Field(
        "not_proven_worse",
        description="Against the champion on test rows. not_proven_worse: refused if it is worse "
        "by more than the margin and a paired test says that this is no accident; not_worse: by "
        "the number alone; proven_not_worse: refused unless the test says that the loss is within "
        "the margin.",
    )
    on_recent: Literal["better", "proven_better", "proven_not_worse"] = Field(
        "better",
        description="On the latest labelled rows. proven_better: the paired test must say so; "
        "proven_not_worse: as on test rows.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="What a paired test calls proven.")
    minimum_rows: int = Field(30, ge=1, description="Held-out rows below which nothing is proven.")
    slice_margin: float = Field(
        0.05, ge=0, description="The same for each slice that has the minimum of rows."
    )
    maximum_bytes: int | None = Field(None, ge=1, description="Size of the model's weights.")
    maximum_ms_per_1000_rows: float | None = Field(
        None, gt=0, description="Time to answer a thousand test rows."
    )


class Evaluation(Frozen):
    """What is measured beside the metrics of all rows."""

    slices: tuple[str, ...] = Field(
        (), description="Columns whose parts are judged apart: numbers by quarter, or by value."
    )
    importance: bool = Field(True, description="Measure what shuffling each column costs.")
    bootstrap: int = Field(
        200, ge=0, le=10_000, description="Resamples behind each 95 % interval; 0: no intervals."
    )

    def misfits(
        self, measured: tuple[str, ...], promotion: Promotion, columns: dict[str, str]
    ) -> Iterator[str]:
        """What does not fit together. columns: the type of each one that a client sends."""
        for kind in promotion.thresholds:
            if kind not in measured:
                yield f"promotion.thresholds: {kind!r} must be in metrics"
        for name in self.slices:
            if columns.get(name) not in SLICED:
                wanted = f"an input among the columns, of type {' or '.join(SLICED)}"
                yield f"evaluation.slices: {name!r} must be {wanted}"
