"""What a pipeline file may say: one YAML file in `dags/pipelines/`, one model, one loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import yaml
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
from pipeline_tasks.core.errors import ConfigError, UnknownPartError
from pipeline_tasks.core.values import Frozen

PROJECT = Path(__file__).parent.parent
PIPELINE_NAME = r"^[a-z][a-z0-9_]{0,62}$"


class Part(BaseModel):
    """One interchangeable part: `kind` names its file, the other keys are that file's Params."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    def settings(self) -> dict[str, JsonValue]:
        """Everything but the kind."""
        return dict(self.__pydantic_extra__ or {})


def _part_of(folder: str) -> AfterValidator:
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
    """What the model answers: one of these classes."""

    name: str
    classes: tuple[int, ...] | tuple[str, ...] = Field(min_length=2)


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
    batch_size: int = Field(64, ge=1, le=100_000, description="Rows in one gradient step.")
    learning_rate: float = Field(0.001, gt=0, le=10, description="Step size of Adam.")
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
    detector: Annotated[Part, _part_of("detectors")] = Part(kind="histogram")
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


class PipelineConfig(Frozen):
    """One pipeline: everything its four DAGs need to know."""

    name: str = Field(pattern=PIPELINE_NAME)
    description: str = ""
    owner: str = "perennial"
    schedule: str | None = "0 2 * * *"
    paused: bool = True
    retries: int = Field(3, ge=0)
    source: Annotated[Part, _part_of("sources")]
    columns: dict[str, Column] = Field(min_length=1)
    label: Label
    drop_duplicates: bool = True
    split: Split = Split()
    model: Annotated[Part, _part_of("models")]
    training: Training = Training()
    metrics: tuple[MetricName, ...] = ("accuracy", "precision", "recall", "f1")
    promotion: Promotion = Promotion()
    target: Annotated[Part, _part_of("targets")] = Part(kind="model_server")
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    notifiers: tuple[Annotated[Part, _part_of("notifiers")], ...] = (Part(kind="log"),)

    @model_validator(mode="after")
    def _label_is_no_column(self) -> Self:
        if self.label.name in self.columns:
            raise ValueError(f"the label {self.label.name!r} must not be among the columns too")
        if self.promotion.metric not in self.metrics:
            raise ValueError(f"promotion.metric {self.promotion.metric!r} must be in metrics")
        return self

    def section(self, name: str) -> JsonValue:
        """One top-level key of the file as JSON."""
        return cast(JsonValue, self.model_dump(mode="json", by_alias=True)[name])

    def with_training(self, **changes: float) -> PipelineConfig:
        """The same pipeline with other training parameters, checked like those in the file."""
        training = Training.model_validate(self.training.model_dump() | changes)
        return self.model_copy(update={"training": training})


def folder() -> Path:
    """Where pipeline files are: PERENNIAL_PIPELINES, or `dags/pipelines`."""
    return Path(os.environ.get("PERENNIAL_PIPELINES") or PROJECT / "dags" / "pipelines")


def files() -> list[Path]:
    """Every pipeline file, sorted by name."""
    return sorted(folder().glob("*.yaml"))


def load(path: Path) -> PipelineConfig:
    """Read one pipeline file. Raises ConfigError that lists every mistake in it with its line."""
    try:
        document = path.read_text(encoding="utf-8")
        content = yaml.safe_load(document)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: holds no settings", expected="keys such as `source` and `model`"
        )
    try:
        return PipelineConfig.model_validate({"name": path.stem} | content)
    except ValidationError as error:
        raise ConfigError(_report(path, document, error)) from error


def named(name: str) -> PipelineConfig:
    """The pipeline called `name`. Raises ConfigError with the known names."""
    path = folder() / f"{name}.yaml"
    if path in files():
        return load(path)
    raise ConfigError(
        f"no pipeline is called {name!r}",
        expected=", ".join(file.stem for file in files()) or f"a file in {folder()}",
        fix=f"use one of these names, or add {path}",
    )


def _report(path: Path, document: str, error: ValidationError) -> str:
    lines = _line_numbers(yaml.compose(document))
    mistakes = [
        f"  {path.name}:{_line(lines, place)}: {'.'.join(map(str, place)) or 'the file'}: {text}"
        for place, text in _mistakes(error.errors())
    ]
    count = f"{len(mistakes)} mistake" + ("s" if len(mistakes) > 1 else "")
    return "\n".join([f"{path}: {count}", *mistakes])


def _mistakes(errors: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    for error in errors:
        place = prefix + tuple(error["loc"])
        if error["type"] == "part":
            yield from _mistakes(error["ctx"]["errors"], place)
        elif error["type"] == "unknown_part":
            yield (*place, "kind"), error["msg"].replace("\n", "\n    ")
        else:
            given = "" if error["type"] == "missing" else f" (found {error['input']!r:.80})"
            yield place, _hint(error) + given


def _hint(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such key here; check the spelling or remove it"
    if error["type"] == "missing":
        return "this key is required; add it"
    return str(error["msg"]).removeprefix("Value error, ")


def _line_numbers(node: Any, place: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], int]:
    found = {place: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found |= _line_numbers(value, (*place, key.value))
            found[(*place, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found |= _line_numbers(value, (*place, index))
    return found


def _line(lines: dict[tuple[Any, ...], int], place: tuple[Any, ...]) -> int:
    while place not in lines:
        place = place[:-1]
    return lines[place]
