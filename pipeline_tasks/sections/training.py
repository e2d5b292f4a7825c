"""The pipeline file's sections `training` and `tuning`: how the model learns."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from pipeline_tasks.core.values import Frozen


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
    start: Literal["fresh", "champion"] = Field(
        "fresh",
        description="champion: go on from the champion's weights, where they fit this model.",
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
