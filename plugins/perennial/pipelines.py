"""Which pipelines a DAG file draws, and what their trigger form asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, get_parsing_context

from perennial.failure import FailureNotifier
from pipeline_tasks import config
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.release import releasing
from pipeline_tasks.run import default_store
from pipeline_tasks.sections.training import Training

LAST_GOOD = "the last good one"


def pipelines() -> Iterator[PipelineConfig]:
    """The pipelines to draw: every good file, or, when a task is about to run, only its own.

    A broken file is left out here and reported by `dags/problems.py`.
    """
    wanted = get_parsing_context().dag_id
    for path in config.files():
        if wanted is None or wanted.startswith(f"{path.stem}__"):
            try:
                yield config.load(path)
            except ConfigError:
                continue


def default_args(pipeline: PipelineConfig) -> dict[str, Any]:
    """What every task of a pipeline shares.

    Its owner, retries that wait longer each time, and that people are told when they are used up.
    """
    return {
        "owner": pipeline.owner,
        "retries": pipeline.retries,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=12),
        "on_failure_callback": FailureNotifier(pipeline),
    }


def training_form(pipeline: PipelineConfig) -> dict[str, Param]:
    """The trigger form of a training run: the pipeline file's parameters, typed and described."""
    schema = Training.model_json_schema()["properties"]
    current = pipeline.training.model_dump()
    form = {
        name: Param(current[name], title=name.replace("_", " ").capitalize(), **_rules(rules))
        for name, rules in schema.items()
    }
    force = Param(
        False, type="boolean", title="Force", description="Train again even if nothing has changed."
    )
    reason = Param(
        None, type=["null", "string"], title="Reason", description="Why this run: kept with it."
    )
    approval = Param(
        pipeline.promotion.approval,
        enum=["never", "refused", "always"],
        type="string",
        title="Approval",
        description="Ask a person: never, when the candidate is refused, or always.",
    )
    return form | {"force": force, "approval": approval, "reason": reason}


def retraining_form() -> dict[str, Param]:
    """The trigger form of a retraining by hand."""
    reason = Param(
        None,
        type=["null", "string"],
        title="Retrain now, because",
        description="Why a training is wanted now, whatever cool-down and budget say; it is kept "
        "in the history, with your name. Without a reason the run waits for one of its own.",
    )
    return {"reason": reason}


def rollback_form(pipeline: PipelineConfig) -> dict[str, Param]:
    """The trigger form of a rollback: the versions there are, each with what is known of it."""
    known = releasing.known(default_store(), pipeline)
    version = Param(
        None,
        type=["null", "integer"],
        enum=[None, *known],
        values_display={"null": LAST_GOOD} | {str(number): text for number, text in known.items()},
        title="Version",
        description="The version that shall answer. The last good one is the champion before this, "
        "or, while a candidate is on trial, this one: its trial ends.",
    )
    reason = Param(
        type="string",
        minLength=3,
        title="Reason",
        description="Why: it is kept in the history, with your name.",
    )
    return {"version": version, "reason": reason}


def asset(pipeline: PipelineConfig, kind: str) -> Asset:
    """One link of the pipeline's chain in the asset view: data, model, deployment, degraded."""
    uri = f"x-perennial://{pipeline.name}/{kind}"
    return Asset(name=f"{pipeline.name} {kind}", uri=uri, group=kind)


def _rules(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in ("default", "title")}
