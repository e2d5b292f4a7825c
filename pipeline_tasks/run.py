"""What every step is handed, and what makes a function a step."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, cast

from pydantic import JsonValue

from pipeline_tasks.config import PROJECT, PipelineConfig
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.bucket import Place, place_at
from pipeline_tasks.core.fingerprint import fingerprint
from pipeline_tasks.core.store import Draft, Store, store_at
from pipeline_tasks.core.values import HistoryEntry, Ref, Scalar, Verdict

log = logging.getLogger(__name__)

PARTS = {
    "source": "sources",
    "model": "models",
    "storage": "storages",
    "target": "targets",
}


def home() -> Path:
    """Where state lives: PERENNIAL_HOME, or `var/` in the project."""
    return Path(os.environ.get("PERENNIAL_HOME") or PROJECT / "var").absolute()


def store_uri() -> str:
    """Where artifacts are: PERENNIAL_STORE, a folder or a URI, or `store/` in the home folder."""
    return os.environ.get("PERENNIAL_STORE") or str(home() / "store")


def default_store() -> Store:
    """The artifact store."""
    return store_at(store_uri(), home())


def models_folder() -> Place:
    """What servers watch: PERENNIAL_MODELS, a folder or a URI, or `models/` in the home folder."""
    return models_at(os.environ.get("PERENNIAL_MODELS") or str(home() / "models"))


def models_at(uri: str) -> Place:
    """The models folder, or the bucket that stands for it."""
    return place_at(uri, "PERENNIAL_MODELS")


def server_url() -> str:
    """The model server's address: PERENNIAL_SERVER, or the embedded server's default."""
    return _servers()[0]


def other_servers() -> tuple[str, ...]:
    """Further servers of the same models: PERENNIAL_SERVER names them after a comma."""
    return _servers()[1:]


def _servers() -> tuple[str, ...]:
    named = (os.environ.get("PERENNIAL_SERVER") or "").split(",")
    found = tuple(one.strip() for one in named if one.strip())
    return found or ("http://127.0.0.1:8501",)


@dataclass(frozen=True)
class Run:
    """One run of one pipeline."""

    config: PipelineConfig
    id: str
    store: Store = field(default_factory=default_store)
    models: Place = field(default_factory=models_folder)
    server: str = field(default_factory=server_url)
    others: tuple[str, ...] = field(default_factory=other_servers)
    by: str = "perennial"
    force: bool = False
    started: datetime = field(default_factory=clock.now)
    step: str = ""
    inputs: Mapping[str, Ref] = field(default_factory=dict)
    settings: JsonValue = None
    fingerprint: str = ""

    def write(self, artifact: str) -> AbstractContextManager[Draft]:
        """Write this step's artifact; see Store.write."""
        return self.store.write(
            self.config.name,
            self.id,
            artifact,
            inputs=self.inputs,
            settings=self.settings,
            fingerprint=self.fingerprint,
        )

    @property
    def servers(self) -> tuple[str, ...]:
        """Every server that is to answer with what is deployed."""
        return (self.server, *self.others)

    @property
    def study(self) -> Place:
        """Where the trials of this run meet; it survives retries."""
        return self.store.scratch(self.config.name, self.id, "study")

    def observations(self) -> Path:
        """The folder of the prediction log and its labels, with what other machines have logged."""
        self.store.fetch_observations(self.config.name)
        return self.store.observations(self.config.name)

    def record_refusal(self, verdict: Verdict) -> None:
        """Add to the pipeline's history that its champion stays, and why."""
        champion = self.store.champion(self.config.name)
        entry = HistoryEntry(
            at=clock.text(clock.now()),
            event="refusal",
            run=self.id,
            by=self.by,
            reasons=verdict.reasons,
            version=champion.version if champion else None,
        )
        self.store.record(self.config.name, entry)

    def open(self, ref: Ref) -> Path:
        """An artifact's folder, checked."""
        return self.store.open(ref)


class Step(Protocol):
    """A verb of the loop: artifacts in, one artifact out."""

    __name__: str

    def __call__(self, run: Run, /, **arguments: Ref | Scalar) -> Ref: ...


def step(
    *,
    reads: Sequence[str],
    reusable: bool = True,
    outside: Callable[..., str] | None = None,
) -> Callable[[Callable[..., Ref]], Step]:
    """Make a function a step: log its start and end, and reuse an artifact that would be the same.

    reads: the pipeline file's keys it depends on; the parts they name count as its code.
    reusable: False for a step with an effect, or whose result depends on the moment.
    outside: a digest of what it reads from outside the store, called with the step's arguments.
    """

    def decorate(function: Callable[..., Ref]) -> Step:
        name = function.__name__

        @functools.wraps(function)
        def perform(run: Run, /, **arguments: Ref | Scalar) -> Ref:
            mine = replace(
                run,
                step=name,
                inputs={key: value for key, value in arguments.items() if isinstance(value, Ref)},
                settings={key: run.config.section(key) for key in reads},
            )
            if reusable:
                content = outside(run, **arguments) if outside else ""
                mine = replace(
                    mine, fingerprint=_fingerprint(mine, function.__module__, reads, content)
                )
                earlier = None if run.force else run.store.find(run.config.name, mine.fingerprint)
                if earlier is not None:
                    log.info(
                        "%s: reused from run %s, as nothing it depends on has changed%s",
                        name,
                        earlier.run,
                        summary_text(earlier.summary),
                    )
                    return earlier
            log.info("%s: started", name)
            began = time.monotonic()
            ref = function(mine, **arguments)
            seconds = time.monotonic() - began
            log.info("%s: done in %.1f s%s", name, seconds, summary_text(ref.summary))
            return ref

        return cast(Step, perform)

    return decorate


def summary_text(summary: Mapping[str, Scalar]) -> str:
    """A summary as the end of a log line.

    >>> summary_text({"rows": 3, "accuracy": 0.98765, "champion": None})
    ': rows 3, accuracy 0.9877, champion none'
    """
    items = (
        f"{key} {value:.4g}"
        if isinstance(value, float)
        else f"{key} {'none' if value is None else value}"
        for key, value in summary.items()
    )
    text = ", ".join(items)
    return f": {text}" if text else ""


def _fingerprint(run: Run, module: str, reads: Sequence[str], content: str) -> str:
    return fingerprint(
        modules=[module, *_part_modules(run.config, reads)],
        settings=run.settings,
        inputs=[f"{key}={ref.digest}" for key, ref in sorted(run.inputs.items())],
        content=content + _foreign_code(run.config, reads),
    )


def _foreign_code(config: PipelineConfig, reads: Sequence[str]) -> str:
    """A digest of model code that is not in this package, where a family uses some."""
    family = registry.part("models", config.model.kind) if "model" in reads else None
    if family is None or not hasattr(family, "digest"):
        return ""
    params = registry.params("models", config.model.kind, config.model.settings())
    return cast(str, family.digest(params))


def _part_modules(config: PipelineConfig, reads: Sequence[str]) -> list[str]:
    named = {key: getattr(config, key) for key in reads if key in PARTS}
    modules = [f"pipeline_tasks.{PARTS[key]}.{part.kind}" for key, part in named.items() if part]
    if "metrics" in reads:
        modules += [f"pipeline_tasks.metrics.{kind}" for kind in config.metrics]
    return modules
