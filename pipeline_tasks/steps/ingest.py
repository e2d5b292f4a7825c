"""Ingest: fetch rows from the source, and what production has taught us since."""

from __future__ import annotations

from typing import cast

from pipeline_tasks import observations
from pipeline_tasks.core import registry
from pipeline_tasks.core.fingerprint import digest_of_text
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run, step


def _content(run: Run) -> str:
    told = (f"{pair.prediction.id} {pair.label.label!r}" for pair in _labelled(run))
    return digest_of_text(_source_digest(run) + "\n".join(told))


@step(reads=("source", "retraining"), outside=_content)
def ingest(run: Run) -> Ref:
    """Fetch the source's rows, as they are, and the labelled observations of production.

    Writes the artifact `raw`: the source's own files, and observations.jsonl when production has
    been given labels; then each line is one prediction with its true label, oldest first. Its
    summary has the source's rows, where the source could count them.
    """
    source = run.config.source
    found = _labelled(run)
    with run.write("raw") as draft:
        part = registry.part("sources", source.kind)
        params = registry.params("sources", source.kind, source.settings())
        rows = part.fetch(params, draft.folder)
        if found:
            observations.write_joined(draft.folder / observations.JOINED, found)
        size = sum(path.stat().st_size for path in draft.folder.iterdir())
        draft.summary |= {"rows": rows, "source_bytes": size, "observations": len(found)}
    return draft.done()


def _source_digest(run: Run) -> str:
    source = run.config.source
    part = registry.part("sources", source.kind)
    return cast(str, part.digest(registry.params("sources", source.kind, source.settings())))


def _labelled(run: Run) -> list[observations.Observation]:
    folder = run.observations()
    latest = run.config.retraining.maximum_observations
    return observations.labelled(folder, latest=latest) if latest else []
