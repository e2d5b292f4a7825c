"""tensorflow.serving.ModelService: states, and a desired state for the models in the folder."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline_tasks.core.bucket import Place
from pipeline_tasks.core.errors import ArtifactError, TransientError
from pipeline_tasks.release import desired as desired_state
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.serving.grpc_server.asked import answering, asked
from pipeline_tasks.serving.grpc_server.protos import (
    Code,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)
from pipeline_tasks.serving.rest.failures import Failure, bad_request
from pipeline_tasks.serving.service import DEADLINE_SECONDS, Service
from pipeline_tasks.serving.versions.servable import AVAILABLE, LOADING, START
from pipeline_tasks.serving.versions.watched import Versions

LABEL = re.compile(r"[A-Za-z0-9_]+")
LOOK_SECONDS = 0.05


class Management(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @answering
    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        """The state of each version."""
        reply = get_model_status_pb2.GetModelStatusResponse()
        for version, found in sorted(
            self._service.states(asked(request, context)).items(), reverse=True
        ):
            one = reply.model_version_status.add(version=version)
            one.state = get_model_status_pb2.ModelVersionStatus.State.Value(found.state)
            one.status.error_code = Code.Value("UNKNOWN" if found.error else "OK")
            one.status.error_message = found.error
        return reply

    @answering
    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        """Put policies and labels of all models in force; answers once they are.

        The configuration is the entire desired state, as in TensorFlow Serving: who answers by
        default is the highest version of the policy. What this server does not do is refused, and
        then nothing changes: models elsewhere than in its folder, and leaving out one of them.
        """
        remaining = context.time_remaining()
        seconds = DEADLINE_SECONDS if remaining is None else min(remaining, DEADLINE_SECONDS)
        versions = self._service.versions
        wanted = _wanted(request, versions)
        before = {name: _read(versions.folder / name) for name in wanted}
        try:
            for name, one in wanted.items():
                await asyncio.to_thread(desired_state.look, versions.source(name))
                await asyncio.to_thread(desired_state.write, versions.source(name), one)
            await _in_force(versions, wanted, time.monotonic() + seconds * 0.9)
        except BaseException as error:
            for name, one in before.items():
                await asyncio.to_thread(desired_state.write, versions.source(name), one)
            if isinstance(error, OSError | TransientError):
                said = error.what if isinstance(error, TransientError) else error.strerror
                message = f"the desired state cannot be written: {said}"
                raise Failure(503, message) from error
            raise
        return model_management_pb2.ReloadConfigResponse()


def _wanted(request: Any, versions: Versions) -> dict[str, Desired]:
    """The desired state of each model. Raises a Failure with status 400."""
    if request.config.WhichOneof("config") != "model_config_list":
        raise bad_request("the configuration must be a model_config_list")
    wanted: dict[str, Desired] = {}
    for config in request.config.model_config_list.config:
        if config.name in wanted:
            raise bad_request(f"the model {config.name} is there twice")
        if not versions.is_known(config.name):
            raise bad_request(
                f"there is no model {config.name} in {versions.folder}, which this server watches"
            )
        wanted[config.name] = _desired(config, versions)
    if missing := sorted(set(versions.tables()) - set(wanted)):
        raise bad_request(
            f"the configuration leaves out {', '.join(missing)}; this server serves every model "
            "in its folder: to unload one, move its folder away"
        )
    return wanted


def _desired(config: Any, versions: Versions) -> Desired:
    folder = versions.source(config.name)
    if config.base_path and not _is_same(config.base_path, folder):
        raise bad_request(
            f"the base_path of {config.name} is {config.base_path}; this server has it in {folder}"
        )
    if config.model_platform not in ("", "tensorflow"):
        raise bad_request(f"model_platform {config.model_platform} is not served")
    if config.HasField("logging_config"):
        raise bad_request("logging_config: what is logged is not configured by reloading")
    if trial := versions.table(config.name).trial:
        raise bad_request(
            f"a {trial.mode} of version {trial.version} of {config.name} is under way until "
            f"{trial.until}; reload after it"
        )
    labels = dict(config.version_labels)
    for label, version in labels.items():
        if not LABEL.fullmatch(label):
            raise bad_request(f"the label {label[:80]!r} must be of letters, digits and _")
        _check_labelled(config.name, label, version, versions)
    try:
        return Desired(**_policy(config), labels=labels)
    except ValidationError as error:
        raise bad_request(f"{config.name}: {error.errors()[0]['msg']}") from None


def _is_same(path: str, folder: Place) -> bool:
    if isinstance(folder, Path):
        return Path(path).absolute() == folder.absolute()
    return path.rstrip("/") == folder.uri


def _policy(config: Any) -> dict[str, Any]:
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice") or "latest"
    if kind == "specific":
        return {"policy": "specific", "specific": tuple(policy.specific.versions)}
    if kind == "latest":
        return {"policy": "latest", "latest": policy.latest.num_versions or 1}
    return {"policy": "all"}


def _check_labelled(name: str, label: str, version: int, versions: Versions) -> None:
    """Only what is available can be labelled, or has failed no load and is there to be loaded."""
    state = versions.states_of(name).get(version)
    is_there = (versions.folder / name / str(version)).is_dir()
    if (state is None and not is_there) or (state and state.error):
        raise bad_request(
            f"Request to assign label {label} to version {version} of model {name}, which is not "
            "currently available for inference"
        )


def _read(folder: Path) -> Desired:
    try:
        return desired_state.read(folder)
    except ArtifactError as error:
        raise Failure(503, str(error)) from error


async def _in_force(versions: Versions, wanted: dict[str, Desired], deadline: float) -> None:
    """Wait until every model is as wanted. Raises a Failure with status 504."""
    while late := [name for name, one in wanted.items() if not _is_in_force(versions, name, one)]:
        if time.monotonic() > deadline:
            states = {name: versions.states_of(name) for name in late}
            raise Failure(504, f"not in force in time, and taken back: {states}"[:2000])
        await asyncio.sleep(LOOK_SECONDS)


def _is_in_force(versions: Versions, name: str, wanted: Desired) -> bool:
    table, states = versions.table(name), versions.states_of(name)
    if table.desired != wanted or any(one.state in (START, LOADING) for one in states.values()):
        return False
    if versions.mirror and not set(wanted.specific) <= set(states):
        return False  # it is on its way here
    specific = [states[one] for one in wanted.specific if one in states]
    return dict(table.labels) == wanted.labels and all(
        one.state == AVAILABLE or one.error for one in specific
    )
