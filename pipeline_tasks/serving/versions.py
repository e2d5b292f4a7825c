"""Which version answers: folders polled, the new one loaded and warm before the old one goes."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_tasks.core.store import MANIFEST
from pipeline_tasks.publishing import versions as versions_in
from pipeline_tasks.serving.failures import not_found
from pipeline_tasks.serving.model import Model, load

log = logging.getLogger(__name__)

MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
POLL_SECONDS = 1.0
AVAILABLE, LOADING, END = "AVAILABLE", "LOADING", "END"


@dataclass(frozen=True)
class State:
    """What one version is doing; `error` says why a load failed."""

    state: str
    error: str = ""


@dataclass
class Served:
    """One model: the version that answers, and the states of all seen so far."""

    current: Model | None = None
    states: dict[int, State] = field(default_factory=dict)
    failed_manifests: dict[int, int] = field(default_factory=dict)


class Versions:
    """Watches `<folder>/<model>/<version>/` and keeps the highest version that loads."""

    def __init__(self, folder: Path, *, load: Callable[..., Model] = load) -> None:
        self.folder = folder
        self._load = load
        self._served: dict[str, Served] = {}
        self._has_polled = threading.Event()
        self._stop = threading.Event()

    def start(self) -> None:
        """Poll in a thread of its own until `stop`."""
        threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def stop(self) -> None:
        """End the thread after the poll under way."""
        self._stop.set()

    def poll(self) -> None:
        """Look at the folders once, and load what is new."""
        for name in self._names():
            self._poll_model(name, self._served.setdefault(name, Served()))
        self._has_polled.set()

    def adopt(self, model: Model) -> None:
        """Serve a model that was loaded elsewhere."""
        states = {model.version: State(AVAILABLE)}
        self._served[model.name] = Served(current=model, states=states)

    def current(self, name: str, version: int | None = None) -> Model:
        """The model that answers for `name`. Raises a Failure with status 404."""
        served = self._served.get(name)
        model = served.current if served else None
        if model is None or version not in (None, model.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {wanted}")
        return model

    def states(self, name: str, version: int | None = None) -> dict[int, State]:
        """The states of a model's versions, or of one. Raises a Failure with status 404."""
        served = self._served.get(name)
        states = dict(served.states) if served else {}
        if not states:
            raise not_found(f"Could not find any versions of model {name}")
        if version is not None and version not in states:
            raise not_found(f"Could not find version {version} of model {name}")
        return states if version is None else {version: states[version]}

    def is_known(self, name: str) -> bool:
        """The server has a folder of that name."""
        return name in self._served

    def answering(self) -> dict[str, int]:
        """The version that answers, by model."""
        served = list(self._served.items())
        return {name: one.current.version for name, one in served if one.current}

    def is_ready(self) -> bool:
        """Every model that has a version to serve has one that answers."""
        served = list(self._served.values())
        return self._has_polled.is_set() and all(one.current or not one.states for one in served)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.poll()
            except Exception:  # the thread must outlive anything a folder can hold
                log.exception("looking for versions in %s failed; trying again", self.folder)
            self._stop.wait(POLL_SECONDS)

    def _names(self) -> list[str]:
        folders = self.folder.iterdir() if self.folder.is_dir() else []
        found = {path.name for path in folders if path.is_dir()} | set(self._served)
        return sorted(name for name in found if MODEL_NAME.fullmatch(name))

    def _poll_model(self, name: str, served: Served) -> None:
        folder = self.folder / name
        present = {
            version: folder / str(version)
            for version in versions_in(folder)
            if (folder / str(version) / MANIFEST).is_file()
        }
        for version in sorted(present, reverse=True):
            if served.current and served.current.version == version:
                return
            if self._swap(name, version, present[version], served):
                return

    def _swap(self, name: str, version: int, folder: Path, served: Served) -> bool:
        changed = (folder / MANIFEST).stat().st_mtime_ns
        if served.failed_manifests.get(version) == changed:
            return False
        served.states[version] = State(LOADING)
        log.info("loading %s version %s", name, version)
        try:
            model = self._load(folder, name=name, version=version)
        except Exception as error:  # whatever it is, the version that works goes on
            served.failed_manifests[version] = changed
            served.states[version] = State(END, f"{type(error).__name__}: {error}")
            log.error("%s version %s cannot be served: %s", name, version, error)
            return False
        previous, served.current = served.current, model
        served.states[version] = State(AVAILABLE)
        if previous:
            served.states[previous.version] = State(END)
        log.info("%s version %s answers now", name, version)
        return True
