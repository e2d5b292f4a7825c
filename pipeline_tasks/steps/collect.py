"""Collect: what production was asked and answered since the last look, and the labels that came."""

from __future__ import annotations

import json

from pipeline_tasks import observations, rows
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import TransientError
from pipeline_tasks.core.values import Champion, Ref, Scalar
from pipeline_tasks.observations import Prediction, TrueLabel
from pipeline_tasks.run import Run, step


@step(reads=("columns", "label", "target", "monitoring"), reusable=False)
def collect(run: Run) -> Ref:
    """Join new predictions of the champion with the labels that have arrived.

    Writes the artifact `window`: window.npz (inputs by column, `_answer`, `_latency_ms`),
    labelled.npz (`_truth`: class indices, or numbers, and `_answer`) and window.json (counts,
    times, the server's memory and whether it answers). `_answer`: see rows.answers.
    """
    name = run.config.name
    champion = run.store.champion(name)
    folder = run.store.observations(name)
    until = clock.text(clock.now())
    prediction_mark, label_mark = _watermarks(run, champion)
    found = list(observations.predictions(folder, since=prediction_mark, until=until))
    mine = [one for one in found if champion and one.version == champion.version]
    joined = _joined(run, champion, label_mark, until) if champion else []
    facts = {
        "version": champion.version if champion else None,
        "predictions": len(mine),
        "predictions_of_other_versions": len(found) - len(mine),
        "labelled": len(joined),
        "prediction_watermark": max((one.time for one in mine), default=prediction_mark),
        "label_watermark": max((label.time for _, label in joined), default=label_mark),
    } | _service(run)
    with run.write("window") as draft:
        rows.write_arrays(draft.folder / "window.npz", _window(run, mine))
        rows.write_arrays(draft.folder / "labelled.npz", _labelled(run, joined))
        (draft.folder / "window.json").write_text(json.dumps(facts, indent=1))
        draft.summary |= facts
    return draft.done()


def _watermarks(run: Run, champion: Champion | None) -> tuple[str, str]:
    """Up to where the current champion's predictions and labels have been judged."""
    if champion is None:
        return "", ""
    records = run.store.monitoring(run.config.name)
    mine = [one for one in records if one.version == champion.version and one.id != run.id]
    if not mine:
        return champion.promoted_at, champion.promoted_at
    return mine[-1].prediction_watermark, mine[-1].label_watermark


def _joined(
    run: Run, champion: Champion, since: str, until: str
) -> list[tuple[Prediction, TrueLabel]]:
    folder = run.store.observations(run.config.name)
    arrived = observations.labels(folder, since=since, until=until)
    if not arrived:
        return []
    asked = observations.predictions(folder, since=champion.promoted_at, until=until)
    return [
        (one, arrived[one.id])
        for one in asked
        if one.id in arrived and one.version == champion.version
    ]


def _window(run: Run, found: list[Prediction]) -> rows.Arrays:
    import numpy as np

    return rows.input_arrays(found, run.config) | {
        "_answer": rows.answers(found, run.config),
        "_latency_ms": np.array([one.latency_ms for one in found], dtype=np.float64),
    }


def _labelled(run: Run, joined: list[tuple[Prediction, TrueLabel]]) -> rows.Arrays:
    """Rows whose label is one that the model may answer; others cannot be right or wrong."""
    known = [(one, label) for one, label in joined if run.config.label.knows(label.label)]
    return {
        "_truth": rows.truths([label.label for _, label in known], run.config),
        "_answer": rows.answers([one for one, _ in known], run.config),
    }


def _service(run: Run) -> dict[str, Scalar]:
    if run.config.target.kind != "model_server":
        return {"server_is_answering": None, "server_memory_mb": None}
    from pipeline_tasks.serving.client import Client

    try:
        with Client(run.server) as client:
            megabytes = client.memory_bytes() / 1e6
    except TransientError:
        return {"server_is_answering": False, "server_memory_mb": None}
    return {"server_is_answering": True, "server_memory_mb": round(megabytes, 1)}
