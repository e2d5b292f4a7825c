"""Ingest: fetch rows from the source, and what production has taught us since."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from pipeline_tasks import observations
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.values import Ref
from pipeline_tasks.monitoring import regime
from pipeline_tasks.run import Run, step

log = logging.getLogger(__name__)

RAW = "raw"


def _content(run: Run) -> str:
    change = _change(run)
    told = (f"{pair.prediction.id} {pair.label.label!r}" for pair in _labelled(run, change))
    since = change.at if change else ""
    return digest_of_text(_source_digest(run) + since + "\n".join(told))


@step(reads=("source", "retraining"), outside=_content)
def ingest(run: Run) -> Ref:
    """Fetch the source's rows, as they are, and the labelled observations of production.

    Writes the artifact `raw`: the source's own files, and observations.jsonl when production has
    been given labels; then each line is one prediction with its true label, oldest first. After a
    detected change that was trained on, only a share of what is older is among them, and
    change.json says when it was. The summary has the source's rows, where it could count them.
    A source that can do so goes on from the last `raw` that has passed check, unless the run is
    forced: it fetches what follows, and this `raw` has the earlier rows, too.
    """
    part, params = _source(run)
    change = _change(run)
    found = _labelled(run, change)
    with run.write(RAW) as draft:
        rows = part.fetch(params, draft.folder, *_earlier(run))
        if found:
            observations.write_joined(draft.folder / observations.JOINED, found)
        if change:
            log.info("production changed at %s: %s rows are trained on", change.at, len(found))
            content = json.dumps({"changed_at": change.at})
            (draft.folder / regime.CHANGE).write_text(content)
        size = sum(path.stat().st_size for path in draft.folder.iterdir())
        draft.summary |= {"rows": rows, "source_bytes": size, "observations": len(found)}
    return draft.done()


def _source(run: Run) -> tuple[ModuleType, Any]:
    source = run.config.source
    part = registry.part("sources", source.kind)
    return part, registry.params("sources", source.kind, source.settings())


def _source_digest(run: Run) -> str:
    part, params = _source(run)
    return cast(str, part.digest(params, *_earlier(run)))


def _earlier(run: Run) -> list[Path]:
    """The folder of the `raw` that the source can go on from, if there is one."""
    part, params = _source(run)
    is_incremental = hasattr(part, "is_incremental") and part.is_incremental(params)
    ref = run.store.latest(run.config.name, RAW) if is_incremental else None
    if ref is None:
        return []
    if run.force:
        log.info("forced: every row is fetched anew")
        return []
    try:
        return [run.open(ref)]
    except ArtifactError as error:
        log.warning(
            "every row is fetched anew, as run %s left none to go on from: %s", ref.run, error
        )
        return []


def _change(run: Run) -> regime.Change | None:
    return regime.latest(run.store.history(run.config.name))


def _labelled(run: Run, change: regime.Change | None) -> list[observations.Observation]:
    rules = run.config.retraining
    if not rules.maximum_observations:
        return []
    found = observations.labelled(run.observations(), latest=rules.maximum_observations)
    return regime.trained_on(found, rules, change)
