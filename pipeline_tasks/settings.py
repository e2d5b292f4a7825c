"""The sections of a pipeline file: each a frozen value that says what its keys mean."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
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


class Column(Frozen):
    """One input of the model, as the source delivers it and as a client sends it."""

    type: Literal["number", "category", "image"]
    minimum: float | None = Field(None, alias="min")
    maximum: float | None = Field(None, alias="max")
    values: tuple[str, ...] | None = None
    shape: tuple[int, int] | tuple[int, int, int] | None = None
    nullable: bool = False

    @model_validator(mode="after")
    def _shape_is_for_images(self) -> Self:
        if (self.type == "image") != (self.shape is not None):
            raise ValueError("an image needs `shape: [height, width]`, and nothing else has one")
        return self


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

    by: Literal["hash", "time"] = Field(
        "hash", description="hash: by the row's content; time: the last rows validate and test"
    )
    validation: Share = 0.15
    test: Share = 0.15


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
