"""What a pipeline file may say: one YAML file in `dags/pipelines/`, one model, one loop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import yaml
from pydantic import (
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline_tasks import metrics
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.sections import column_rules, mistakes
from pipeline_tasks.sections.deployment import Deployment
from pipeline_tasks.sections.logged import Logged
from pipeline_tasks.sections.observing import Observation
from pipeline_tasks.sections.preparation import Preparation
from pipeline_tasks.sections.production import Monitoring, Notifying, Retraining
from pipeline_tasks.sections.settings import (
    Column,
    Evaluation,
    Label,
    Part,
    Promotion,
    Split,
    part_of,
)
from pipeline_tasks.sections.training import Training, Tuning
from pipeline_tasks.sections.variants import Export

PROJECT = Path(__file__).parent.parent
# Of libyaml where PyYAML was built with it: ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PIPELINE_NAME = r"^[a-z][a-z0-9_]{0,62}$"


class PipelineConfig(Frozen):
    """One pipeline: everything its four DAGs need to know."""

    name: str = Field(pattern=PIPELINE_NAME)
    description: str = ""
    owner: str = "perennial"
    schedule: str | None = "0 2 * * *"
    paused: bool = True
    retries: int = Field(3, ge=0)
    source: Annotated[Part, part_of("sources")]
    columns: dict[str, Column] = Field(min_length=1)
    label: Label
    drop_duplicates: bool = True
    split: Split = Split()
    preparation: Preparation = Preparation()
    storage: Annotated[Part, part_of("storages")] | None = Field(
        None, description="Where prepared rows are kept. Unless given: as arrays in the store."
    )
    model: Annotated[Part, part_of("models")]
    training: Training = Training()
    tuning: Tuning | None = None
    metrics: tuple[str, ...] = ("accuracy", "precision", "recall", "f1")
    evaluation: Evaluation = Evaluation()
    promotion: Promotion = Promotion()
    export: Export = Export()
    target: Annotated[Part, part_of("targets")] = Part(kind="model_server")
    observation: Observation = Observation()
    deployment: Deployment = Deployment()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    notifiers: tuple[Annotated[Part, part_of("notifiers")], ...] = (Part(kind="log"),)
    notifying: Notifying = Notifying()

    @model_validator(mode="before")
    @classmethod
    def _a_number_has_other_metrics(cls, content: Any) -> Any:
        label = content.get("label") if isinstance(content, dict) else None
        if not isinstance(label, dict) or label.get("type") != "number":
            return content
        promotion = content.get("promotion", {})
        if isinstance(promotion, dict):
            promotion = {"metric": "rmse"} | promotion
        return {"metrics": ["rmse", "mae", "r2"]} | content | {"promotion": promotion}

    @field_validator("metrics")
    @classmethod
    def _metrics_fit_the_label(cls, kinds: tuple[str, ...], info: ValidationInfo) -> Any:
        label = info.data.get("label")
        metrics.check(kinds, label.task if label else None)
        return kinds

    @model_validator(mode="after")
    def _its_parts_fit_together(self) -> Self:
        if self.label.name in self.columns:
            raise ValueError(f"the label {self.label.name!r} must not be among the columns too")
        tasks = getattr(registry.part("models", self.model.kind), "TASKS", (self.task,))
        if self.task not in tasks:
            raise ValueError(
                f"model kind {self.model.kind} is for {' and '.join(tasks)}; "
                f"the label {self.label.name!r} makes this {self.task}"
            )
        for path, space in self.tuning.parameters.items() if self.tuning else ():
            self._check_parameter(path, space.example)
        if self.promotion.metric not in self.metrics:
            raise ValueError(f"promotion.metric {self.promotion.metric!r} must be in metrics")
        return self

    @model_validator(mode="after")
    def _columns_have_names(self) -> Self:
        for name, column in self.columns.items():
            if column.is_input and (other := column_rules.sendable(name)) != name:
                raise ValueError(
                    f"columns.{name}: no client can send this name; call it by another one, such "
                    f"as `{other}: {{from: {name!r}, ...}}`"
                )
        names = [column.source_name or name for name, column in self.columns.items()]
        names.append(self.label.name)
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the source's column {twice[0]!r} is taken twice")
        return self

    @model_validator(mode="after")
    def _what_preparation_names_is_declared(self) -> Self:
        if self.split.column is not None and self.split.column not in self.columns:
            raise ValueError(f"split.column {self.split.column!r} must be among the columns")
        if self.split.by == "label" and self.label.type == "number":
            raise ValueError("`split: {by: label}` needs a label with classes")
        for name, feature in self.preparation.features.items():
            self._check_feature(name, feature)
        return self

    def _check_feature(self, name: str, feature: Part) -> None:
        if name in self.columns or name.startswith("_") or "/" in name:
            wanted = "a name that no column has, without / and not beginning with _"
            raise ValueError(f"the feature {name!r} needs {wanted}")
        takes = registry.part("transforms", feature.kind).TAKES
        params: Any = registry.params("transforms", feature.kind, feature.settings())
        inputs = {key: column for key, column in self.columns.items() if column.is_input}
        for of in params.of:
            if of not in inputs or inputs[of].type not in takes:
                raise ValueError(
                    f"the feature {name!r} is made of {of!r}, which must be an input among the "
                    f"columns, of type {' or '.join(takes)}"
                )

    @model_validator(mode="after")
    def _what_is_evaluated_fits(self) -> Self:
        columns: dict[str, str] = {
            name: column.type for name, column in self.columns.items() if column.is_input
        }
        found = [
            *self.evaluation.misfits(self.metrics, self.promotion, columns),
            *self._useless({*columns.values()}),
        ]
        if mistakes := "; ".join(found):
            raise ValueError(mistakes)
        return self

    @model_validator(mode="after")
    def _what_is_logged_is_enough(self) -> Self:
        inputs = frozenset(name for name, column in self.columns.items() if column.is_input)
        trained_on = self.retraining.maximum_observations
        if mistake := self.observation.misfits(inputs, trained_on):
            raise ValueError(mistake)
        return self

    @model_validator(mode="after")
    def _the_target_can_do_the_strategy(self) -> Self:
        strategy, kind = self.deployment.strategy, self.target.kind
        why_not = registry.part("targets", kind).UNWATCHED
        if strategy != "replace" and why_not:
            raise ValueError(
                f"deployment.strategy {strategy} needs a target that tells versions apart, "
                f"and target {kind} does not: {why_not}"
            )
        if kind == "tf_serving" and self.export.serve in ("float16", "int8"):
            raise ValueError(
                f"target tf_serving answers with the SavedModel, not with {self.export.serve}: "
                "take `export: {serve: tensorflow}`, or the target model_server"
            )
        return self

    @property
    def logged(self) -> Logged:
        """What servers are told to keep of this pipeline's requests."""
        left_out = self.observation.leave_out
        inputs = [name for name, column in self.columns.items() if column.is_input]
        kept = tuple(name for name in inputs if name not in left_out) if left_out else None
        return Logged(share=self.observation.share, columns=kept)

    def _useless(self, types: set[str]) -> Iterator[str]:
        """What asks for data of a type that the file does not declare."""
        needed = getattr(registry.part("models", self.model.kind), "NEEDS_COLUMN", None)
        if needed is not None and needed not in types:
            yield f"model kind {self.model.kind} needs a column of type {needed}"
        if self.preparation.augmentation is not None and "image" not in types:
            yield "preparation.augmentation varies images, and no column is of type image"
        if self.preparation.balance is not None and self.task == "regression":
            yield "preparation.balance is of classes, and the label is a number"

    @property
    def task(self) -> Literal["binary", "multiclass", "regression"]:
        """What kind of answer the label asks for."""
        return self.label.task

    def section(self, name: str) -> JsonValue:
        """One top-level key of the file as JSON."""
        return cast(JsonValue, self.model_dump(mode="json", by_alias=True)[name])

    def with_parameters(self, parameters: Mapping[str, JsonValue]) -> PipelineConfig:
        """The same pipeline with other values at these dotted paths, checked like the file."""
        content: Any = self.model_dump(mode="json", by_alias=True) | {"tuning": None}
        for path, value in parameters.items():
            section, name = path.split(".", 1)
            content[section][name] = value
        return PipelineConfig.model_validate(content)

    def _check_parameter(self, path: str, value: JsonValue) -> None:
        try:
            self.with_parameters({path: value})
        except ValidationError as error:
            found = "; ".join(text for _, text in mistakes.found(error.errors()))
            raise ValueError(f"tuning.parameters: {path} cannot be {value!r}: {found}") from error

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
        content = yaml.load(document, Loader=LOADER)  # noqa: S506 (it is a safe one)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: holds no settings", expected="keys such as `source` and `model`"
        )
    try:
        return PipelineConfig.model_validate({"name": path.stem} | content)
    except ValidationError as error:
        # Without its cause: a refused secret is in there, and would be in the traceback.
        raise ConfigError(mistakes.report(path, document, error)) from None


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
