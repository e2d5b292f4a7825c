"""Collect: what production was asked and answered since the last look, and the labels that came."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from pipeline_tasks import label_source, logged, observations, publishing, rows
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.errors import PipelineError, TransientError
from pipeline_tasks.core.values import Champion, MonitoringRecord, Ref, Scalar
from pipeline_tasks.observations import Prediction, TrueLabel
from pipeline_tasks.run import Run, step

log = logging.getLogger(__name__)

BATCH_ROWS = 5_000
MAXIMUM_ROWS = 100_000
Facts = dict[str, Scalar]


@step(reads=("columns", "label", "target", "observation", "monitoring"), reusable=False)
def collect(run: Run) -> Ref:
    """Join new predictions of the champion with the labels that have arrived.

    Writes the artifact `window`: window.npz (inputs by column, `_answer`, `_latency_ms`; of more
    than 100,000 rows a uniform sample), labelled.npz (`_truth`: class indices, or numbers, and
    `_answer`) and window.json (counts, times, the server's memory and whether it answers).
    `_answer`: see rows.answers. Closed segments of the log become Parquet, and servers are told
    what the pipeline file says about logging. A label source that cannot be read stops nothing
    else: `label_source_error` says why.
    """
    champion = run.store.champion(run.config.name)
    _tell_servers(run)
    told = _label_source(run)
    until = clock.text(clock.now())
    _tidy(run)
    marks = _marks(run, champion)
    window = _Window(run, champion, marks.prediction)
    for batch in _batches(run, marks.prediction, until):
        window.add(batch)
    joined = _join(run, champion, marks, until)
    facts = window.facts() | joined.facts | told | _service(run)
    facts["label_completeness"] = _completeness(marks, facts)
    with run.write("window") as draft:
        rows.write_arrays(draft.folder / "window.npz", window.arrays())
        rows.write_arrays(draft.folder / "labelled.npz", _labelled(run, joined.pairs))
        (draft.folder / "window.json").write_text(json.dumps(facts, indent=1))
        draft.summary |= facts
    return draft.done()


def _tell_servers(run: Run) -> None:
    """A change of the section `observation` needs no deployment."""
    target = run.config.target
    part = registry.part("targets", target.kind)
    folder = part.folder(registry.params("targets", target.kind, target.settings()), run)
    if publishing.versions(folder):
        logged.write(folder, run.config.logged)


def _label_source(run: Run) -> Facts:
    if run.config.observation.labels is None:
        return {}
    try:
        taken = label_source.take(run)
    except PipelineError as error:
        log.error("no labels were taken from the label source: %s", error)
        return {"label_source_error": str(error)}
    return {f"label_source_{name}": count for name, count in taken._asdict().items()}


def _tidy(run: Run) -> None:
    folder = run.observations()
    observations.settle(folder)
    if run.store.is_elsewhere:  # the server that wrote a segment would publish it once more
        run.store.publish_observations(run.config.name)
        return
    try:
        observations.rotate(folder)
    except OSError as error:
        log.error("the prediction log stays as it is: %s", error)


@dataclass(frozen=True)
class _Marks:
    """Up to where the champion's predictions and labels have been judged, in which looks."""

    prediction: str = ""
    label: str = ""
    judged: Sequence[MonitoringRecord] = ()


def _marks(run: Run, champion: Champion | None) -> _Marks:
    if champion is None:
        return _Marks()
    records = run.store.monitoring(run.config.name)
    mine = [one for one in records if one.version == champion.version and one.id != run.id]
    if not mine:
        return _Marks(champion.promoted_at, champion.promoted_at)
    return _Marks(mine[-1].prediction_watermark, mine[-1].label_watermark, mine)


def _batches(run: Run, since: str, until: str) -> Iterator[list[Prediction]]:
    folder = run.store.observations(run.config.name)
    found = observations.predictions(folder, since=since, until=until)
    while batch := list(islice(found, BATCH_ROWS)):
        yield batch


class _Window:
    """The champion's predictions as arrays, batch by batch, with a largest number of rows."""

    def __init__(self, run: Run, champion: Champion | None, since: str) -> None:
        import numpy as np

        self._run = run
        self._version = champion.version if champion else None
        self._random = np.random.default_rng(0)
        self._parts: list[rows.Arrays] = []
        self._rows = self._others = 0
        self._answered = 0.0
        self._latest = since
        self.add(())

    def add(self, batch: Sequence[Prediction]) -> None:
        """Take those of the batch that the champion answered."""
        mine = [one for one in batch if one.version == self._version]
        self._others += len(batch) - len(mine)
        self._rows += len(mine)
        self._answered += sum(1 / one.share for one in mine)
        self._latest = max([self._latest, *(one.time for one in mine)])
        arrays = _arrays(self._run, mine)
        self._parts.append(arrays | {"_order": self._random.random(len(mine))})
        if sum(len(part["_latency_ms"]) for part in self._parts) > 2 * MAXIMUM_ROWS:
            self._parts = [self._thinned()]

    def facts(self) -> Facts:
        """Counts and times. answered: with what sampling left out of the log, by its share."""
        return {
            "version": self._version,
            "predictions": self._rows,
            "answered": round(self._answered),
            "predictions_of_other_versions": self._others,
            "prediction_watermark": self._latest,
        }

    def arrays(self) -> rows.Arrays:
        """The window's arrays."""
        found = self._thinned()
        del found["_order"]
        return found

    def _thinned(self) -> rows.Arrays:
        """At most the largest number of rows: those with the least random numbers."""
        import numpy as np

        parts = [part for part in self._parts if len(part["_order"])] or self._parts[:1]
        shared = set.intersection(*(set(part) for part in parts))  # a column may not be sent yet
        whole = {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
            if name in shared
        }
        if len(whole["_order"]) <= MAXIMUM_ROWS:
            return whole
        chosen = np.argpartition(whole["_order"], MAXIMUM_ROWS)[:MAXIMUM_ROWS]
        return {name: values[chosen] for name, values in whole.items()}


def _arrays(run: Run, found: Sequence[Prediction]) -> rows.Arrays:
    import numpy as np

    return rows.input_arrays(found, run.config) | {
        "_answer": rows.answers(found, run.config),
        "_latency_ms": np.array([one.latency_ms for one in found], dtype=np.float64),
    }


@dataclass(frozen=True)
class _Joined:
    """The champion's predictions with labels that are news, and what else arrived."""

    pairs: Sequence[tuple[Prediction, TrueLabel]]
    facts: Facts


def _join(run: Run, champion: Champion | None, marks: _Marks, until: str) -> _Joined:
    """Labels since the mark that say something new, with their predictions.

    orphaned: no prediction with their id was logged; unsampled: because their request was not
    among those that are. late: their predictions were judged, without a label, in an earlier look.
    """
    folder = run.store.observations(run.config.name)
    arrived = observations.labels(folder, since=marks.label, until=until) if champion else {}
    history = observations.label_history(folder, until=until, ids=arrived)
    news = {key: label for key, label in arrived.items() if _is_news(history[key], marks.label)}
    found = list(_asked(run, champion, news, until)) if champion else []
    mine = [one for one in found if champion and one.version == champion.version]
    pairs = [(one, news[one.id]) for one in mine if champion and one.time > champion.promoted_at]
    missing = news.keys() - {one.id for one in found}
    unsampled = {key for key in missing if not run.config.logged.has(key.rpartition("-")[0])}
    first = [one for one, label in pairs if history[one.id][0].time > marks.label]
    facts: Facts = {
        "labelled": len(pairs),
        "labelled_first": len(first),
        "label_watermark": max((label.time for _, label in pairs), default=marks.label),
        "labels_arrived": len(arrived),
        "labels_of_other_versions": len(found) - len(pairs),
        "labels_late": sum(one.time <= marks.prediction for one, _ in pairs),
        "labels_orphaned": len(missing) - len(unsampled),
        "labels_unsampled": len(unsampled),
    }
    return _Joined(pairs, facts | _changes(history, marks.label))


def _is_news(history: Sequence[TrueLabel], mark: str) -> bool:
    """The label that counts now is not the one that counted at the mark."""
    judged = [one for one in history if one.time <= mark]
    return not judged or judged[-1].label != history[-1].label


def _changes(history: Mapping[str, Sequence[TrueLabel]], mark: str) -> Facts:
    """How many labels since the mark said the same again, and how many something else."""
    again = [
        before.label == label.label
        for each in history.values()
        for before, label in pairwise(each)
        if label.time > mark
    ]
    return {"labels_repeated": sum(again), "labels_corrected": len(again) - sum(again)}


def _asked(
    run: Run, champion: Champion, labels: Mapping[str, TrueLabel], until: str
) -> Iterator[Prediction]:
    """The predictions with these ids; of an id that tells no day, since the last promotion."""
    folder = run.store.observations(run.config.name)
    dated = {key for key in labels if observations.day_range(key)}
    groups = [("", dated), (champion.promoted_at, labels.keys() - dated)]
    for since, ids in groups:
        if ids:
            found = observations.predictions(folder, since=since, until=until, ids=ids)
            yield from (one._replace(inputs={}) for one in found)


def _completeness(marks: _Marks, facts: Facts) -> float | None:
    """The share of the champion's logged predictions so far that have a label."""
    judged = [one.numbers for one in marks.judged if _is_used_up(one, "prediction")]
    labelled = [one.numbers for one in marks.judged if _is_used_up(one, "label")]
    answers = sum(int(one.get("predictions") or 0) for one in [*judged, facts])
    known = sum(int(one.get("labelled_first") or 0) for one in [*labelled, facts])
    return round(min(1.0, known / answers), 4) if answers else None


def _is_used_up(record: MonitoringRecord, kind: str) -> bool:
    """The next window began after this one, rather than with it."""
    mark: str = getattr(record, f"{kind}_watermark")
    return record.numbers.get(f"{kind}_watermark") == mark


def _labelled(run: Run, joined: Sequence[tuple[Prediction, TrueLabel]]) -> rows.Arrays:
    """Rows whose label is one that the model may answer; others cannot be right or wrong."""
    known = [(one, label) for one, label in joined if run.config.label.knows(label.label)]
    return {
        "_truth": rows.truths([label.label for _, label in known], run.config),
        "_answer": rows.answers([one for one, _ in known], run.config),
    }


def _service(run: Run) -> Facts:
    if run.config.target.kind != "model_server":
        return {"server_is_answering": None, "server_memory_mb": None}
    from pipeline_tasks.serving.client import Client

    try:
        with Client(run.server) as client:
            megabytes = client.memory_bytes() / 1e6
    except TransientError:
        return {"server_is_answering": False, "server_memory_mb": None}
    return {"server_is_answering": True, "server_memory_mb": round(megabytes, 1)}
