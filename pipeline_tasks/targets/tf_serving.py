"""TensorFlow Serving, which follows `models.config` in the models folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pydantic import Field

from pipeline_tasks.core.bucket import Place
from pipeline_tasks.core.errors import DeploymentError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.release import desired, golden, models_config
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.run import Run

UNWATCHED = (
    "of the versions TensorFlow Serving has loaded, the highest answers everything, "
    "and it does not count by version what failed"
)
READY_SECONDS = 5
POLL_SECONDS = 0.2


class Params(Frozen):
    """Where it is, is asked for by PERENNIAL_TF_SERVING: the address of its REST interface.

    target: {kind: tf_serving, base_path: /models}
    """

    timeout_seconds: float = Field(60, gt=0, description="From the folder's arrival to AVAILABLE.")
    base_path: str | None = Field(
        None,
        description="The models folder as TensorFlow Serving sees it; unless given, where "
        "docker-compose.yaml has it (/models), or the bucket that PERENNIAL_MODELS names.",
    )


def address() -> str:
    """PERENNIAL_TF_SERVING, or where docker-compose.yaml has it."""
    return os.environ.get("PERENNIAL_TF_SERVING") or "http://127.0.0.1:8601"


def folder(params: Params, run: Run) -> Place:
    """Where the pipeline's version folders are."""
    return run.models / run.config.name


def check_ready(params: Params, run: Run) -> None:
    """Raises TransientError when it does not answer, be it that it knows no such model."""
    from pipeline_tasks.serving.client import Client

    with Client(address(), timeout_seconds=READY_SECONDS) as client:
        client.states(run.config.name)


def serve(params: Params, run: Run, wanted: Desired) -> None:
    """Write the desired state, and models.config, which TensorFlow Serving reads."""
    desired.write(folder(params, run), wanted)
    models_config.write(run.models, params.base_path)


def rehearse(params: Params, run: Run, version: int, exported: Path) -> None:
    """Nothing: what TensorFlow Serving has loaded might answer at once."""


def confirm(params: Params, run: Run, version: int, exported: Path) -> None:
    """Wait until `version` is the highest that is AVAILABLE, and ask the golden questions.

    Raises DeploymentError when it failed to load, takes too long or answers wrongly.
    """
    from pipeline_tasks.serving.client import Client

    name, deadline = run.config.name, time.monotonic() + params.timeout_seconds
    instances, expected = golden.questions(exported)
    with Client(address()) as client:
        client.wait_available(name, version, timeout_seconds=params.timeout_seconds)
        while (answering := _highest_available(client.states(name))) != version:
            if time.monotonic() > deadline:
                raise DeploymentError(
                    f"traffic for {name} is answered by version {answering}",
                    expected=f"version {version} within {params.timeout_seconds:g} s",
                    fix=f"check that {address()} runs with --model_config_file_poll_wait_seconds",
                )
            time.sleep(POLL_SECONDS)
        found, _, _ = client.predict(name, instances)
    golden.compare(expected, found, who=f"version {version} behind {address()}")


def counters(params: Params, run: Run) -> dict[str, str]:
    """Nothing: its metrics do not say which version failed."""
    return {}


def _highest_available(states: dict[int, tuple[str, str]]) -> int:
    return max((number for number, (state, _) in states.items() if state == "AVAILABLE"), default=0)
