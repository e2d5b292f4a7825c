"""One step of the loop as one task."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NoReturn, TypeVar

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    DownstreamTasksSkipped,
)
from pydantic import ValidationError

from perennial.connections import tell_connections
from perennial.ui.links import ModelPage
from pipeline_tasks import loop
from pipeline_tasks.config import PROJECT, PipelineConfig
from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.core.values import Ref, Scalar
from pipeline_tasks.run import Run
from pipeline_tasks.sections.training import Training

Result = TypeVar("Result")

SKIPPED = "skipped"  # the XCom key of what a decision has skipped


class StepOperator(BaseOperator):
    """Runs `pipeline_tasks.steps.<step>` and passes on a reference to the artifact it left.

    :param step: the step's name, which is the task's id unless told otherwise
    :param pipeline: the pipeline as its file says; passed by value, so that what ran is what the
        task's rendered template shows
    :param inputs: the step's arguments, each by the id of the task that leaves it in XCom, or by
        several, of which the last that left something counts; the order is drawn by the DAG
    :param from_params: the step's arguments that the trigger form asks for
    :param given: the step's arguments by value; what a mapped task is expanded over

    A `map_index_template` may show the artifact's `summary`, once it is there.
    """

    operator_extra_links = (ModelPage(),)
    template_fields: Sequence[str] = ("pipeline",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"pipeline": "json"}
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        step: str,
        pipeline: PipelineConfig,
        inputs: Mapping[str, str | Sequence[str]] | None = None,
        from_params: Sequence[str] = (),
        given: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("task_id", step)
        kwargs.setdefault("doc_md", docstring(step))
        super().__init__(**kwargs)
        self.step = step
        self.pipeline = pipeline.model_dump(mode="json", by_alias=True)
        self.inputs = dict(inputs or {})
        self.from_params = list(from_params)
        self.given = dict(given or {})
        self.left: dict[str, Scalar] = {}

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step. A mistake that a retry cannot mend fails the task at once."""
        ref = self.call(loop.function(self.step), context)
        self.left = ref.summary
        self._tell_assets(context, ref)
        context["summary"] = ref.summary  # type: ignore[typeddict-unknown-key]
        return ref.model_dump(mode="json")

    def call(self, function: Callable[..., Result], context: Context) -> Result:
        """Call a function of the step with its run and arguments; its errors become Airflow's."""
        logging.getLogger("pipeline_tasks").setLevel(logging.INFO)
        tell_connections(self.pipeline)
        try:
            return function(self._run(context), **self._arguments(context))
        except PipelineError as error:
            kind = AirflowException if error.is_retryable else AirflowFailException
            raise kind(f"{type(error).__name__}: {error}") from None
        except ValidationError as error:
            raise AirflowFailException(f"a parameter is not what it must be: {error}") from None

    def _run(self, context: Context) -> Run:
        params = context["params"]
        run = context["dag_run"]
        changes = {name: params[name] for name in Training.model_fields if name in params}
        return Run(
            config=PipelineConfig.model_validate(self.pipeline).with_training(**changes),
            id=run.run_id,
            by=run.triggering_user_name or str(run.run_type.value),
            force=bool(params.get("force", False)),
        )

    def _arguments(self, context: Context) -> dict[str, Any]:
        asked = {name: context["params"][name] for name in self.from_params}
        pulled = {name: self._pulled(context, task) for name, task in self.inputs.items()}
        given = {
            name: Ref.model_validate(value) if isinstance(value, dict) else value
            for name, value in pulled.items()
        }
        return given | asked | self.given

    def _pulled(self, context: Context, tasks: str | Sequence[str]) -> Any:
        if isinstance(tasks, str):
            return context["ti"].xcom_pull(tasks)
        found = [context["ti"].xcom_pull(task) for task in tasks]
        return next((left for left in reversed(found) if left is not None), None)

    def _tell_assets(self, context: Context, ref: Ref) -> None:
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {"digest": ref.digest, **ref.summary}


class DecisionOperator(StepOperator):
    """A step that decides: after a no, what follows is skipped and the run stays green."""

    ui_color = "#fdf3d8"

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; the verdict and its reasons are in the log and in XCom either way."""
        return self.follow(context, super().execute(context))

    def follow(self, context: Context, ref: dict[str, Any]) -> dict[str, Any]:
        """Go on after a yes or to a person who is asked; skip what follows after anything else."""
        verdict = ref["summary"]
        is_yes = verdict["answer"] in ("yes", "ask")
        skipped = self.skipped(is_yes=is_yes)
        self.log.info("%s: %s", verdict["answer"], verdict["reasons"])
        if is_yes and not skipped:
            return ref
        return self.skip(context, ref, skipped)

    def skip(self, context: Context, ref: dict[str, Any], skipped: set[str]) -> NoReturn:
        """Skip these tasks, and leave a reference and their names all the same."""
        self.log.info("skipped: %s", ", ".join(sorted(skipped)))
        context["ti"].xcom_push("return_value", ref)
        context["ti"].xcom_push(SKIPPED, sorted(skipped))
        raise DownstreamTasksSkipped(tasks=sorted(skipped))  # type: ignore[no-untyped-call]

    def skipped(self, *, is_yes: bool) -> set[str]:
        """The tasks that do not run after this answer."""
        return set() if is_yes else set(self.downstream_task_ids)


@cache
def docstring(step: str) -> str:
    """The step's docstring, read without importing the step."""
    source = PROJECT / "pipeline_tasks" / "steps" / f"{step}.py"
    for node in ast.parse(source.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == step:
            return ast.get_docstring(node) or ""
    return ""
