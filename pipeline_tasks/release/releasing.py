"""Which version answers: what publishing, promoting, withdrawing and rolling back have in common.

Servers do what `desired.json` says. Outside a trial the folder alone says the same, as what is
withdrawn is out of sight: the highest version is the champion.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.bucket import Place
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Champion
from pipeline_tasks.release import desired, publishing, quarantine
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.run import Run

MOST_SHOWN = 20

log = logging.getLogger(__name__)


class Target:
    """The pipeline's deployment target: its part, with its settings."""

    def __init__(self, run: Run) -> None:
        settings = run.config.target
        self._part: Any = registry.part("targets", settings.kind)
        self._params = registry.params("targets", settings.kind, settings.settings())
        self._run = run

    @property
    def folder(self) -> Place:
        """Where the version folders are; there from now on."""
        folder: Place = self._part.folder(self._params, self._run)
        if isinstance(folder, Path):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def unwatched(self) -> str:
        """Why its versions cannot be told apart at work; empty when they can."""
        why: str = self._part.UNWATCHED
        return why

    def check_ready(self) -> None:
        """Raises TransientError when the target does not answer."""
        self._part.check_ready(self._params, self._run)

    def publish(self, exported: Path) -> int:
        """Make an exported model the target's next version, which it returns.

        Raises TransientError when the deployment lock, held until now, is somebody else's.
        """
        self._run.store.check_lock(self._run.config.name)
        return publishing.publish(exported, self.folder)

    def serve(self, wanted: Desired) -> None:
        """Tell the target what to serve. Raises TransientError as `publish` does."""
        self._run.store.check_lock(self._run.config.name)
        self._part.serve(self._params, self._run, wanted)

    def rehearse(self, version: int, exported: Path) -> None:
        """Wait until `version` is loaded beside the champion, and ask it the golden questions."""
        self._part.rehearse(self._params, self._run, version, exported)

    def confirm(self, version: int, exported: Path) -> None:
        """Wait until traffic is answered by `version`, and ask it the golden questions."""
        self._part.confirm(self._params, self._run, version, exported)

    def counters(self) -> dict[str, str]:
        """What each server of the target counts, as Prometheus' text; of those that answer."""
        texts: dict[str, str] = self._part.counters(self._params, self._run)
        return texts


@contextmanager
def target_of(run: Run) -> Iterator[Target]:
    """The target, with the pipeline's deployment lock held."""
    with run.store.lock(run.config.name):
        target = Target(run)
        desired.look(target.folder)
        yield target


def settle(run: Run, target: Target) -> None:
    """The champion answers, alone; what is newer is withdrawn, its files kept."""
    champion = run.store.champion(run.config.name)
    target.serve(desired.settled(champion.version) if champion else Desired())
    for version in publishing.versions(target.folder):
        if champion is None or version > champion.version:
            publishing.withdraw(target.folder, version)
            log.info("withdrew version %s", version)


def switch(run: Run, target: Target, after: Champion) -> float:
    """Make a version that was champion before the champion again; seconds until it answered.

    When the target does not take it, what was served is served again. Raises ArtifactError when it
    is not there or not whole, DeploymentError when the target does not answer with it.
    """
    began = clock.now()
    exported = run.open(after.exported)
    if after.version not in publishing.versions(target.folder):
        publishing.restore(target.folder, after.version)
    target.serve(desired.settled(after.version))
    try:
        target.confirm(after.version, exported)
    except BaseException:  # whatever it was, the champion's pointer has not moved
        settle(run, target)
        raise
    seconds = round((clock.now() - began).total_seconds(), 3)
    run.store.set_champion(run.config.name, after)
    settle(run, target)
    log.info("version %s answers, %.1f s after it was asked to", after.version, seconds)
    return seconds


def earlier(run: Run, current: int) -> Champion | None:
    """The last version that was champion before `current` and is not in quarantine."""
    for champion in _chain(run, current):
        if quarantine.found(run.store, run.config.name, champion.model) is None:
            return champion
    return None


def followed(run: Run, version: int) -> int | None:
    """The champion that `version` took the place of when it was promoted."""
    for entry in reversed(run.store.history(run.config.name)):
        if entry.event == "promotion" and entry.version == version:
            return entry.previous_version
    return None


def _chain(run: Run, current: int) -> Iterator[Champion]:
    """The champions before `current`, each as the history says it was followed, latest first."""
    while (before := followed(run, current)) is not None:
        champion = run.store.version(run.config.name, before)
        if champion is None:
            return
        yield champion
        current = before


def known(store: Store, config: PipelineConfig) -> dict[int, str]:
    """The latest versions that were champion once, each in words, the newest first."""
    history = store.history(config.name)
    numbers = {entry.version for entry in history if entry.event == "promotion" and entry.version}
    found = {}
    for number in sorted(numbers, reverse=True)[:MOST_SHOWN]:
        version = store.version(config.name, number)
        if version is not None:
            found[number] = _described(store, config, version)
    return found


def _described(store: Store, config: PipelineConfig, version: Champion) -> str:
    champion = store.champion(config.name)
    metric = config.promotion.metric
    value = version.evaluation.summary.get(f"test_candidate_{metric}")
    held = quarantine.found(store, config.name, version.model)
    words = [
        f"version {version.version}",
        f"promoted {version.promoted_at[:16].replace('T', ' ')} UTC",
        f"{metric} {value:.4g}" if isinstance(value, float) else "",
        "in quarantine, lifted by choosing it" if held else "",
        "the champion now" if champion and champion.version == version.version else "",
    ]
    return ", ".join(filter(None, words))


def version_of(run: Run, version: int) -> Champion:
    """The record of a version that was champion once. Raises ArtifactError for any other."""
    found = run.store.version(run.config.name, version)
    if found is None:
        name = run.config.name
        known = sorted({one.version for one in run.store.history(name) if one.version})
        raise ArtifactError(
            f"cannot roll {name} back to version {version}",
            expected=f"a version that was champion once, among {known}",
            fix="choose one of these versions in the trigger form",
        )
    return found
