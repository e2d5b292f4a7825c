"""A model server that watches the models folder: ours, or TensorFlow Serving."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from pydantic import Field

from pipeline_tasks import golden
from pipeline_tasks.core.errors import DeploymentError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.run import Run

log = logging.getLogger(__name__)

READY_SECONDS = 5


class Params(Frozen):
    """How long the server may take."""

    timeout_seconds: float = Field(60, gt=0, description="From the folder's arrival to AVAILABLE.")


def folder(params: Params, run: Run) -> Path:
    """Where the server looks for the pipeline's versions."""
    return run.models / run.config.name


def check_ready(params: Params, run: Run) -> None:
    """Raises TransientError when the server does not answer."""
    from pipeline_tasks.serving.client import Client

    with Client(run.server, timeout_seconds=READY_SECONDS) as client:
        client.check_alive()


def confirm(params: Params, run: Run, version: int, exported: Path) -> None:
    """Wait until traffic is answered by `version`, and ask it the golden questions.

    Raises DeploymentError when the server refuses the version, takes too long or answers wrongly.
    """
    from pipeline_tasks.serving.client import Client

    began = time.monotonic()
    instances, expected = golden.questions(exported)
    with Client(run.server) as client:
        client.wait_available(run.config.name, version, timeout_seconds=params.timeout_seconds)
        found, answered_by, _ = client.predict(run.config.name, instances, is_probe=True)
    if answered_by != version:
        raise DeploymentError(
            f"traffic for {run.config.name} is answered by version {answered_by}",
            expected=f"version {version}",
            fix=f"look at GET {run.server}/v1/models/{run.config.name} and the folders it watches",
        )
    worst = golden.compare(expected, found, who=f"version {version} behind {run.server}")
    log.info(
        "version %s answers %s golden questions within %.1e, %.1f s after it was published",
        version,
        len(instances),
        worst,
        time.monotonic() - began,
    )
