"""The sections of a pipeline file: each a frozen value that says what its keys mean."""

from __future__ import annotations

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

from pipeline_tasks import column_rules
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import UnknownPartError
from pipeline_tasks.core.values import Frozen


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


class Training(Frozen):
    """How the model learns. These are the parameters of the trigger form."""

    epochs: int = Field(20, ge=1, le=10_000, description="Passes over the training rows, at most.")
    batch_size: int = Field(
        64, ge=0, le=1_000_000, description="Rows in one gradient step; 0 for all rows at once."
    )
    learning_rate: float = Field(
        0.001, gt=0, le=10, description="Step size; the largest one where a schedule changes it."
    )
    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = Field(
        "adam", description="How a gradient becomes a step."
    )
    schedule: Literal["constant", "cosine", "one_cycle"] = Field(
        "constant", description="How the learning rate changes until the last epoch."
    )
    weight_decay: float = Field(
        0.004, ge=0, le=1, description="Share of each weight that adamw takes away in a step."
    )
    averaging: float = Field(
        0.0, ge=0, lt=1, description="Decay of the weights' moving average, such as 0.995; 0: none."
    )
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="Label smoothing: the share of certainty taken from a label."
    )
    precision: Literal["float32", "mixed"] = Field(
        "float32", description="mixed computes in bfloat16 where TensorFlow sees a GPU."
    )
    patience: int = Field(
        5,
        ge=0,
        le=1000,
        description="Epochs without a better validation loss before training stops early and "
        "keeps the best weights. 0 never stops early.",
    )
    seed: int = Field(7, ge=0, description="Same seed, same rows: the same weights.")


class Space(Frozen):
    """Where one parameter is searched: between two numbers, or among choices."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = Field(False, description="Search the number's order of magnitude.")
    choices: tuple[JsonValue, ...] = ()

    @model_validator(mode="after")
    def _range_or_choices(self) -> Self:
        has_range = self.low is not None and self.high is not None
        if has_range == bool(self.choices):
            raise ValueError("needs either `low` and `high`, or `choices`")
        if has_range and not (self.low or 0) < (self.high or 0):
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and not (self.low or 0) > 0:
            raise ValueError("log needs a `low` above 0")
        return self

    @property
    def is_whole(self) -> bool:
        """Both ends are whole numbers, so that what is between them is, too."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def example(self) -> JsonValue:
        """One value of it."""
        return self.choices[0] if self.choices else self.low


class Tuning(Frozen):
    """What `<name>__tune` searches, and for how long."""

    parameters: dict[Annotated[str, Field(pattern=r"^(training|model)\.\w+$")], Space]
    trials: int = Field(20, ge=1, le=1000, description="Trainings at most.")
    minutes: float | None = Field(None, gt=0, description="No trial starts after this.")
    workers: int = Field(2, ge=1, description="Trials at the same time.")


class Promotion(Frozen):
    """What a candidate must show before it replaces the champion."""

    metric: MetricName = "accuracy"
    minimum: float = Field(0.0, description="On held-out rows, champion or not.")
    margin: float = Field(0.0, description="How much worse than the champion is still no loss.")
    minimum_rows: int = Field(30, ge=1, description="Held-out rows below which nothing is proven.")


class Monitoring(Frozen):
    """What production must keep to, and how often it is looked at."""

    schedule: str = "*/15 * * * *"
    detector: Annotated[Part, part_of("detectors")] = Part(kind="histogram")
    minimum_rows: int = Field(100, ge=1, description="Rows below which there is no verdict.")
    quality_drop: float = Field(0.05, gt=0, description="Fall of the promotion metric that alarms.")
    latency_p99_ms: float = Field(250, gt=0)
    memory_mb: float = Field(4000, gt=0)


class Retraining(Frozen):
    """When a degraded verdict is worth a training run."""

    cooldown_minutes: float = Field(60, ge=0, description="Least time between two retrainings.")
    minimum_labelled: int = Field(200, ge=1, description="Labelled observations it takes.")
    recent_share: float = Field(
        0.4, gt=0, lt=1, description="Latest labelled observations, kept to judge the candidate."
    )
    maximum_recent: int = Field(500, ge=1, description="Rows of that window, at most.")
    maximum_observations: int = Field(100_000, ge=1, description="Newest ones used, at most.")
