"""Which versions answer: the models in a folder, looked at every second."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks.core.bucket import Place
from pipeline_tasks.serving.rest.failures import bad_request, not_found
from pipeline_tasks.serving.versions.model import Model, load
from pipeline_tasks.serving.versions.servable import Servable, State, Table
from pipeline_tasks.serving.versions.slot import Slot

if TYPE_CHECKING:
    from pipeline_tasks.serving.versions.mirror import Mirror

log = logging.getLogger(__name__)

MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
POLL_SECONDS = 1.0
LOADS_AT_ONCE = 2


class Versions:
    """Watches `<folder>/<model>/<version>/`, and each model's desired state beside its versions.

    mirror: what fills the folder from a bucket, if that is where the models are.
    """

    def __init__(
        self, folder: Path, *, load: Callable[..., Model] = load, mirror: Mirror | None = None
    ) -> None:
        self.folder, self.mirror = folder, mirror
        self._load = load
        self._servables: dict[str, Servable] = {}
        self._has_polled = threading.Event()
        self._wake, self._is_stopped = threading.Event(), False
        self._loads = threading.Semaphore(LOADS_AT_ONCE)

    def start(self) -> None:
        """Poll in a thread of its own until `stop`."""
        if self.mirror:
            self.mirror.start()
        threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def stop(self) -> None:
        """End the thread after the poll under way."""
        self._is_stopped = True
        self._wake.set()
        if self.mirror:
            self.mirror.stop()

    def close(self) -> None:
        """Stop, and answer what is waiting."""
        self.stop()
        for table in self.tables().values():
            for slot in table.slots.values():
                slot.close()

    def poll(self) -> None:
        """Look at the folders once; a model that cannot be looked at stops no other."""
        is_filled = self.mirror is None or self.mirror.is_ready()
        for name in self._names():
            if name not in self._servables:
                folder = self.folder / name
                self._servables[name] = Servable(folder, load=self._load, submit=self._submit)
            try:
                self._servables[name].poll()
            except Exception:  # whatever a folder can hold, those that work go on
                log.exception("looking at the versions of %s failed; trying again", name)
            if self._servables[name].is_gone():
                del self._servables[name]
        if is_filled:
            self._has_polled.set()

    def adopt(self, model: Model) -> None:
        """Serve a model that was loaded elsewhere."""
        folder = self.folder / model.name
        servable = Servable(folder, load=self._load, submit=self._submit)
        servable.adopt(model)
        self._servables[model.name] = servable

    def table(self, name: str) -> Table:
        """What is in force for a model. Raises a Failure with status 404."""
        servable = self._servables.get(name)
        if servable is None:
            raise not_found(f"Servable not found for request: Latest({name})")
        return servable.table

    def slot(self, name: str, version: int | None = None, label: str | None = None) -> Slot:
        """Who answers for `name`. Raises a Failure with status 404, or 400 for an unknown label."""
        servable = self._servables.get(name)
        table = servable.table if servable else Table()
        if label is not None:
            version = self._labelled(table, label)
        slot = table.slots.get(table.default if version is None else version)  # type: ignore[arg-type]
        if slot is None:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {wanted}")
        return slot

    def states(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> dict[int, State]:
        """The states of a model's versions, or of one. Raises a Failure with status 404."""
        if label is not None:
            servable = self._servables.get(name)
            version = self._labelled(servable.table if servable else Table(), label)
        states = self.states_of(name)
        if not states:
            raise not_found(f"Could not find any versions of model {name}")
        if version is not None and version not in states:
            raise not_found(f"Could not find version {version} of model {name}")
        return states if version is None else {version: states[version]}

    def states_of(self, name: str) -> dict[int, State]:
        """The states of a model's versions; nothing for one the server does not know."""
        servable = self._servables.get(name)
        return dict(servable.states) if servable else {}

    def source(self, name: str) -> Place:
        """Where a model's desired state is written: its folder, or what that mirrors."""
        return (self.mirror.bucket if self.mirror else self.folder) / name

    def is_known(self, name: str) -> bool:
        """The server has a folder of that name."""
        return name in self._servables

    def tables(self) -> dict[str, Table]:
        """What is in force, by model."""
        return {name: servable.table for name, servable in list(self._servables.items())}

    def is_ready(self) -> bool:
        """Every model that has a version to serve has one that answers."""
        is_filled = self.mirror is None or self.mirror.is_ready()
        return (
            is_filled
            and self._has_polled.is_set()
            and all(
                servable.table.slots or not servable.states
                for servable in list(self._servables.values())
            )
        )

    def _labelled(self, table: Table, label: str) -> int:
        if label not in table.labels:
            raise bad_request(f"Unrecognized servable version label: {label}")
        return table.labels[label]

    def _watch(self) -> None:
        while not self._is_stopped:
            self._wake.clear()
            try:
                self.poll()
            except Exception:  # the thread must outlive anything a folder can hold
                log.exception("looking for models in %s failed; trying again", self.folder)
            self._wake.wait(POLL_SECONDS)

    def _names(self) -> list[str]:
        try:
            found = {path.name for path in self.folder.iterdir() if path.is_dir()}
        except OSError:
            found = set()
        return sorted(name for name in found | set(self._servables) if MODEL_NAME.fullmatch(name))

    def _submit(self, load: Callable[[], Model]) -> Future[Model]:
        """Load in a thread that holds up no end of the process; the poll follows at once."""
        future: Future[Model] = Future()

        def work() -> None:
            try:
                with self._loads:
                    future.set_result(load())
            except BaseException as error:  # reported as the version's state
                future.set_exception(error)
            self._wake.set()

        threading.Thread(target=work, name="load", daemon=True).start()
        return future
