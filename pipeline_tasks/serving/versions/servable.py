"""One model's versions: the new one loaded and warm before the old one goes, never a gap."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import MANIFEST
from pipeline_tasks.release import desired as desired_state
from pipeline_tasks.release.desired import Desired, Trial
from pipeline_tasks.serving.versions.model import Model
from pipeline_tasks.serving.versions.signatures import timed
from pipeline_tasks.serving.versions.slot import Slot

log = logging.getLogger(__name__)

START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"
RETRY_SECONDS = 60.0
MAXIMUM_RETRIES = 5
MAXIMUM_VERSION = 2**63 - 1
STATES_KEPT = 100


@dataclass(frozen=True)
class State:
    """What one version is doing; `error` says why a load failed."""

    state: str
    error: str = ""


@dataclass(frozen=True)
class Table:
    """What the requests of one model see; always replaced as a whole."""

    slots: Mapping[int, Slot] = field(default_factory=dict)
    default: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    trial: Trial | None = None
    desired: Desired = field(default_factory=Desired)
    problem: str = ""  # why the desired state in the folder is not the one in force


@dataclass(frozen=True)
class Failed:
    """A version that did not load, and which state of its folder that was."""

    manifest: int
    times: int
    at: float


class Servable:
    """Follows one model's folder; `poll` never waits for a load, and is called by one thread."""

    def __init__(
        self,
        folder: Path,
        *,
        load: Callable[..., Model],
        submit: Callable[[Callable[[], Model]], Future[Model]],
    ) -> None:
        self.name = folder.name
        self.table = Table()
        self.states: Mapping[int, State] = {}
        self._folder, self._load, self._submit = folder, load, submit
        self._loading: tuple[int, int, Future[Model]] | None = None
        self._failed: dict[int, Failed] = {}
        self._leaving: dict[int, Slot] = {}
        self._left_out: set[Path] = set()

    def poll(self) -> None:
        """Look at the folder once: take in what has loaded, and begin what is to be done next."""
        loaded = self._loaded()
        present = self._present()
        desired, problem = self._desired()
        trial, problem = _in_force(desired.trial, problem)
        wanted = self._wanted(present, desired, trial)
        if loaded and loaded.version not in wanted:  # withdrawn, or no longer desired, meanwhile
            self._leaving[loaded.version] = loaded
            loaded = None
        self._replace(Table(desired=desired, trial=trial, problem=problem), wanted, loaded)
        self._begin(wanted, present)
        if wanted and wanted <= set(self.table.slots):
            self._unload(keep=wanted)
        self._free()

    def adopt(self, model: Model) -> None:
        """Serve a model that was loaded elsewhere."""
        self.table = Table(slots={model.version: Slot(model)}, default=model.version)
        self._set(model.version, AVAILABLE)

    def is_gone(self) -> bool:
        """Nothing is left of it: no folder, no version that answers or leaves."""
        busy = self.table.slots or self._leaving or self._loading
        return not busy and not self._folder.is_dir()

    def _present(self) -> dict[int, Path] | None:
        """The version folders that are whole, by number; None when the model's folder is away."""
        try:
            paths = sorted(self._folder.iterdir(), key=lambda path: (len(path.name), path.name))
        except OSError:
            return None
        found: dict[int, Path] = {}
        for path in paths:
            name = path.name
            is_number = name.isascii() and name.isdecimal() and int(name) <= MAXIMUM_VERSION
            if not is_number or not (path / MANIFEST).is_file():
                continue
            if int(name) not in found:
                found[int(name)] = path
            elif path not in self._left_out:
                self._left_out.add(path)
                log.warning("%s: %s is left out, %s is there", self.name, path, found[int(name)])
        return found

    def _desired(self) -> tuple[Desired, str]:
        """The desired state in the folder; the last good one, and the problem, if it is broken."""
        if not self._folder.is_dir():
            return self.table.desired, self.table.problem
        try:
            return desired_state.read(self._folder), ""
        except (ArtifactError, OSError, UnicodeDecodeError) as error:
            return self.table.desired, f"{error}"

    def _loaded(self) -> Slot | None:
        """The version whose load has ended well since the last poll."""
        if self._loading is None or not self._loading[2].done():
            return None
        version, manifest, future = self._loading
        self._loading = None
        error = future.exception()
        if error is None:
            self._failed.pop(version, None)
            return Slot(future.result())
        before = self._failed.get(version)
        times = before.times + 1 if before and before.manifest == manifest else 1
        self._failed[version] = Failed(manifest, times, time.monotonic())
        self._set(version, END, f"{type(error).__name__}: {error}")
        log.error("%s version %s cannot be served: %s", self.name, version, error)
        return None

    def _replace(self, new: Table, wanted: set[int], loaded: Slot | None) -> None:
        """Put a table in force: the versions that answer, and those of its names that do."""
        if new.problem and new.problem != self.table.problem:
            log.error("%s: the last good desired state stays in force: %s", self.name, new.problem)
        slots = dict(self.table.slots) | ({loaded.version: loaded} if loaded else {})
        named = {
            label: version if version in slots else self.table.labels.get(label)
            for label, version in new.desired.labels.items()
        }
        default = new.desired.default
        # One that was withdrawn, or never came, gives way to one that is there.
        if default not in wanted & set(slots):
            default = max(wanted & set(slots) or slots, default=None)
        is_tried = new.trial and new.trial.version in slots and new.trial.version != default
        self.table = replace(
            new,
            slots=slots,
            default=default,
            labels={label: version for label, version in named.items() if version in slots},
            trial=new.trial if is_tried else None,
        )
        if loaded:
            self._set(loaded.version, AVAILABLE)
            log.info("%s version %s answers now", self.name, loaded.version)

    def _wanted(
        self, present: dict[int, Path] | None, desired: Desired, trial: Trial | None
    ) -> set[int]:
        """The versions to serve: what the policy says, and what is named, of those that load."""
        if present is None:
            return set(self.table.slots)
        usable = {number for number, path in present.items() if not self._is_refused(number, path)}
        return desired.model_copy(update={"trial": trial}).loaded(usable)

    def _is_refused(self, version: int, path: Path) -> bool:
        failed = self._failed.get(version)
        if failed is None or failed.manifest != _stamp(path):
            return False
        is_paused = time.monotonic() < failed.at + RETRY_SECONDS
        return is_paused or failed.times > MAXIMUM_RETRIES

    def _begin(self, wanted: set[int], present: dict[int, Path] | None) -> None:
        """Load the next version: the default first, then the highest."""
        self.states = {
            number: one
            for number, one in self.states.items()
            if one.state != START or number in wanted  # else it went before it was loaded
        }
        missing = wanted - set(self.table.slots) - set(self._leaving)
        is_loading = {self._loading[0]} if self._loading else set()
        for version in missing - is_loading:
            if self.states.get(version, State(END)).state != START:
                self._set(version, START)
        if not missing or self._loading or not present:
            return
        default = self.table.desired.default
        version = default if default in missing and default is not None else max(missing)
        path = present[version]
        self._set(version, LOADING)
        log.info("loading %s version %s", self.name, version)
        self._loading = version, _stamp(path), self._submit(lambda: self._measured(path, version))

    def _measured(self, folder: Path, version: int) -> Model:
        model = self._load(folder, name=self.name, version=version)
        return replace(model, signatures={k: timed(one) for k, one in model.signatures.items()})

    def _unload(self, *, keep: set[int]) -> None:
        kept = {*keep, *self.table.labels.values(), self.table.default}
        slots = dict(self.table.slots)
        for version in set(slots) - kept:
            self._set(version, UNLOADING)
            self._leaving[version] = slots.pop(version)
        if len(slots) != len(self.table.slots):
            self.table = replace(self.table, slots=slots)

    def _free(self) -> None:
        freed = [version for version, slot in self._leaving.items() if slot.let_go()]
        for version in freed:
            # Its thread may be in a call that nobody waits for any longer.
            slot = self._leaving.pop(version)
            threading.Thread(target=_close, args=(slot,), name="unload", daemon=True).start()
            self._set(version, END)
            log.info("%s version %s is unloaded", self.name, version)

    def _set(self, version: int, state: str, error: str = "") -> None:
        states = dict(self.states) | {version: State(state, error)}
        ended = sorted(number for number, one in states.items() if one.state == END)
        for number in ended[:-STATES_KEPT]:
            del states[number]
        self.states = states


def _in_force(trial: Trial | None, problem: str) -> tuple[Trial | None, str]:
    """The trial unless it is over, and what is wrong with it."""
    if trial is None:
        return None, problem
    try:
        return (trial if clock.now() < clock.parse(trial.until) else None), problem
    except ValueError as error:
        return None, problem or f"the trial's `until` is no time: {error}"


def _close(slot: Slot) -> None:
    slot.close()
    gc.collect()  # a model's functions and variables hold each other


def _stamp(folder: Path) -> int:
    try:
        return (folder / MANIFEST).stat().st_mtime_ns
    except OSError:
        return 0
