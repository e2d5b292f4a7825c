"""Our model server, which watches the models folder; TensorFlow Serving may watch it as well."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline_tasks.core.bucket import Place
from pipeline_tasks.core.errors import DeploymentError, TransientError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.release import desired, golden, models_config
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.run import Run

log = logging.getLogger(__name__)

UNWATCHED = ""
READY_SECONDS = 5
ASK_SECONDS = 0.05


class Params(Frozen):
    """How long the server may take.

    target: {kind: model_server, timeout_seconds: 120}
    """

    timeout_seconds: float = Field(60, gt=0, description="From the folder's arrival to AVAILABLE.")


def folder(params: Params, run: Run) -> Place:
    """Where the server looks for the pipeline's versions."""
    return run.models / run.config.name


def check_ready(params: Params, run: Run) -> None:
    """Raises TransientError when a server does not answer."""
    from pipeline_tasks.serving.client import Client

    for server in run.servers:
        with Client(server, timeout_seconds=READY_SECONDS) as client:
            client.check_alive()


def serve(params: Params, run: Run, wanted: Desired) -> None:
    """Write the desired state, which servers read every second."""
    desired.write(folder(params, run), wanted)
    models_config.write(run.models)


def rehearse(params: Params, run: Run, version: int, exported: Path) -> None:
    """Ask `version`, by its number, the golden questions, while traffic is answered by another.

    Raises DeploymentError when a server refuses the version, takes too long or answers wrongly.
    """
    from pipeline_tasks.serving.client import Client

    began = time.monotonic()
    instances, expected = golden.questions(exported)
    for server in run.servers:
        with Client(server) as client:
            client.wait_available(run.config.name, version, timeout_seconds=params.timeout_seconds)
            found, _, _ = client.predict(run.config.name, instances, version=version, is_probe=True)
        worst = golden.compare(expected, found, who=f"version {version} behind {server}")
        log.info(
            "version %s answers %s golden questions within %.1e, %.1f s after it was published",
            version,
            len(instances),
            worst,
            time.monotonic() - began,
        )


def confirm(params: Params, run: Run, version: int, exported: Path) -> None:
    """Wait until all traffic is answered by `version`, and as the golden questions were.

    Raises DeploymentError when another version answers for too long, or an answer is wrong.
    """
    instances, expected = golden.questions(exported)
    for server in run.servers:
        found = _answered(params, run, server, version, instances)
        golden.compare(expected, found, who=f"version {version} behind {server}")


def _answered(
    params: Params, run: Run, server: str, version: int, instances: list[Any]
) -> list[Any]:
    """What `version` answers as soon as no other one does, and none is on trial beside it."""
    from pipeline_tasks.serving.client import Client

    name, deadline = run.config.name, time.monotonic() + params.timeout_seconds
    with Client(server) as client:
        client.wait_available(name, version, timeout_seconds=params.timeout_seconds)
        while True:
            found, answered_by, _ = client.predict(name, instances, is_probe=True)
            others = {answered_by, client.on_trial(name) or version} - {version}
            if not others:
                return found
            if time.monotonic() > deadline:
                break
            time.sleep(ASK_SECONDS)
    raise DeploymentError(
        f"traffic for {name} is answered by version {', '.join(map(str, sorted(others)))}",
        expected=f"version {version} within {params.timeout_seconds:g} s",
        fix=f"look at GET {server}/perennial/models/{name} and the folders it watches",
    )


def counters(params: Params, run: Run) -> dict[str, str]:
    """The metrics of the servers that answer, by their address."""
    from pipeline_tasks.serving.client import Client

    found = {}
    for server in run.servers:
        try:
            with Client(server, timeout_seconds=READY_SECONDS) as client:
                found[server] = client.metrics()
        except TransientError as error:
            log.warning("%s; looking again", error.what)
    return found
