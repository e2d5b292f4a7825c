"""Collect: what production was asked and answered since the last look, and the labels that came."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pipeline_tasks import observations
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.core.values import Champion, Frozen, Ref, Scalar
from pipeline_tasks.data import rows
from pipeline_tasks.monitoring import (
    cohorts,
    drifting,
    joining,
    label_source,
    logged_arrays,
    service_facts,
)
from pipeline_tasks.monitoring.cohorts import Looked
from pipeline_tasks.monitoring.joining import Joined
from pipeline_tasks.monitoring.logged_arrays import Sample
from pipeline_tasks.observations import arrow, columns
from pipeline_tasks.observations.columns import Group
from pipeline_tasks.release import publishing
from pipeline_tasks.run import Run, step
from pipeline_tasks.sections import logged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

MAXIMUM_ROWS = 100_000
Facts = dict[str, Scalar]


@step(reads=("columns", "label", "target", "observation", "monitoring"), reusable=False)
def collect(run: Run) -> Ref:
    """Join new predictions of the champion with the labels that have arrived.

    Writes the artifact `window`. window.npz: the new predictions in the order of their times, their
    inputs by column, `_answer`, `_time_ms` and `_latency_ms`. labelled.npz: those that are judged
    now, the same with `_truth` (class indices, or numbers) and without the latency. Of more than
    100,000 rows each is a uniform sample. `_answer`: see logged_arrays.answers. counts.json: all
    new predictions, counted in the champion's reference for drift. window.json: the counts below,
    completeness, and how the server does (see service_facts). cohorts.json: the champion's
    predictions by hour, and how many have a label.

    Counted of the labels since the last look, by the moment that each is true of, which is its
    arrival unless it was told:
    duplicate: says what is known already. corrected: something else, of a later moment; it counts,
    and the earlier one stays in the history. conflicting: something else of the same moment; the
    last to arrive counts. outdated: something else of an earlier moment; it changes nothing.
    late: its prediction, or with `matures_after_minutes` its cohort, was judged in an earlier look.
    Without that setting it is judged now, with it never; runs train on it either way.
    orphaned: no prediction with its id was logged; unsampled: because its request was left out.

    A run that is retried looks at the same time again. Closed segments of the log become Parquet,
    and servers are told what the pipeline file says about logging. A label source that cannot be
    read stops nothing else: `label_source_error` says why.
    """
    champion = run.store.champion(run.config.name)
    _tell_servers(run)
    begun = _begun(run)
    _tidy(run)
    marks = _marks(run, champion)
    before = cohorts.looked(run, champion, max(marks.prediction, marks.label))
    window = _window(run, champion, marks, before, begun.until)
    joined = _join(run, champion, marks, before, begun.until)
    after = cohorts.counted(
        before, until=begun.until, predictions=window.by_cohort, labelled=joined.first
    )
    server, after = service_facts.service(run, after)
    after = _with_moments(run, champion, after, joined)
    judged, labelled = _judged(run, marks, after, joined, begun.until)
    arrays: Any = window.arrays()
    facts = window.facts() | joined.facts() | judged | begun.told | server
    facts |= service_facts.latencies(arrays["_latency_ms"]) | service_facts.ages(after, begun.until)
    with run.write("window") as draft:
        rows.write_arrays(draft.folder / "window.npz", arrays)
        window.counted.write(draft.folder)
        rows.write_arrays(draft.folder / "labelled.npz", labelled)
        (draft.folder / "window.json").write_text(json.dumps(facts, indent=1))
        (draft.folder / "cohorts.json").write_text(cohorts.shown(after.cohorts))
        draft.summary |= facts
    cohorts.keep(run, before, after, judged_until=marks.label)
    return draft.done()


class _Begun(Frozen):
    """What a run that is retried must not do again: take the time, and the source's new labels."""

    until: str
    told: Facts


def _begun(run: Run) -> _Begun:
    text = run.store.recall(run.config.name, run.id, "collect")
    if text is not None:
        return _Begun.model_validate_json(text)
    told = _label_source(run)
    begun = _Begun(until=clock.text(clock.now()), told=told)
    run.store.remember(run.config.name, run.id, "collect", begun.model_dump_json())
    return begun


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
    """Up to where the champion's predictions and labels have been judged.

    label: up to when labels had arrived, or, where predictions have to mature, up to which of them.
    """

    prediction: str = ""
    label: str = ""


def _marks(run: Run, champion: Champion | None) -> _Marks:
    if champion is None:
        return _Marks()
    start = champion.promoted_at
    records = takewhile(lambda one: one.id != run.id, run.store.monitoring(run.config.name))
    mine = [one for one in records if one.version == champion.version]
    if not mine:
        return _Marks(start, start)
    return _Marks(max(start, mine[-1].prediction_watermark), max(start, mine[-1].label_watermark))


class _Window:
    """The champion's predictions since the last window, group by group: counts, and a sample."""

    def __init__(self, run: Run, champion: Champion | None, marks: _Marks, looked: str) -> None:
        self._config, self._looked = run.config, looked
        self._version = champion.version if champion else None
        self.counted = drifting.Counting(run, champion)
        nothing = {"_latency_ms": _latencies()}
        self._sample = Sample(logged_arrays.empty(run.config) | nothing, MAXIMUM_ROWS)
        self._rows = self._others = 0
        self._answered = 0.0
        self._since = self._latest = marks.prediction
        self.by_cohort: Counter[str] = Counter()

    def add(self, group: Group, until: str) -> None:
        """Take the group's rows since the last window, if the champion answered them."""
        is_new = group.between(self._since, until)
        if group.version != self._version:
            self._others += int(is_new.sum())
        elif is_new.any():
            table = group.whole().filter(arrow.mask(is_new))
            self._count(table)
            arrays = logged_arrays.taken(table, group.version, self._config)
            self.counted.add(arrays)
            self._sample.add(arrays | {"_latency_ms": _latencies(table)})

    def _count(self, table: Any) -> None:
        from pyarrow import compute

        self._rows += len(table)
        self._answered += float((1 / logged_arrays.floats(table, "share", 1.0)).sum())
        self._latest = max(self._latest, compute.max(table["time"]).as_py())
        uncounted = compute.greater(table["time"], arrow.text(self._looked))
        self.by_cohort.update(cohorts.by_hour(table["time"].filter(uncounted)))

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
        return self._sample.arrays()


def _latencies(table: Any = None) -> NDArray[np.float64]:
    import numpy as np

    return np.empty(0) if table is None else logged_arrays.floats(table, "latency_ms", math.nan)


def _window(
    run: Run, champion: Champion | None, marks: _Marks, before: Looked, until: str
) -> _Window:
    window = _Window(run, champion, marks, before.until)
    folder = run.store.observations(run.config.name) / observations.PREDICTIONS
    for group in columns.groups(folder, [(marks.prediction, until)]):
        window.add(group, until)
    return window


def _join(run: Run, champion: Champion | None, marks: _Marks, before: Looked, until: str) -> Joined:
    if champion is None:
        return joining.nothing(run.config)
    matured = cohorts.matured(run.config.monitoring, until)
    is_waiting = bool(matured) and matured <= marks.label
    times = joining.Times(
        looked=before.until,
        judged=before.until if is_waiting else marks.label,
        late=marks.label if matured else marks.prediction,
        matured=matured,
        until=until,
    )
    folder = run.store.observations(run.config.name)
    return joining.Join(run.config, champion, times, MAXIMUM_ROWS).go_through(folder)


def _with_moments(run: Run, champion: Champion | None, after: Looked, joined: Joined) -> Looked:
    moments = {"newest_label_at": max(after.newest_label_at, joined.newest)}
    if champion and not after.prepared_at:
        moments["prepared_at"] = service_facts.prepared_at(run, champion)
    return after.model_copy(update=moments)


def _judged(
    run: Run, marks: _Marks, after: Looked, joined: Joined, until: str
) -> tuple[Facts, rows.Arrays]:
    """What is judged: the rows of the cohorts that are complete enough, and how many they are."""
    import numpy as np

    settings = run.config.monitoring
    matured = cohorts.matured(settings, until)
    mature = [one for one in after.cohorts if marks.label < one.end <= matured]
    poor = [one.hour for one in mature if one.completeness < settings.minimum_completeness]
    arrays = joined.sample.arrays()
    is_kept = ~np.isin(arrays.pop(joining.COHORT), poor)
    return {
        "labelled": sum(count for hour, count in joined.judged.items() if hour not in poor),
        "label_watermark": max(marks.label, matured or joined.latest),
        "label_completeness": after.completeness,
        "cohorts_matured": len(mature) if matured else None,
        "cohorts_incomplete": len(poor) if matured else None,
    }, {name: values[is_kept] for name, values in arrays.items()}
