"""Watching a candidate beside the champion: one look at a time, each from where the last one ended.

What has been seen is kept in the store, so that a watch survives whoever looks: a task that is
retried, a triggerer that is restarted, a server whose counters begin again at 0.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field, ValidationError

from pipeline_tasks import observations
from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Answer, Frozen, Ref, Verdict
from pipeline_tasks.decisions.release import Counts, Seen, Shadow
from pipeline_tasks.monitoring import counters
from pipeline_tasks.monitoring.counters import Snapshot
from pipeline_tasks.run import Run

LOOK_SECONDS = 2.0
LABELS_SECONDS = 30.0

Judge = Callable[[Seen, bool], Verdict | None]


class Labelled(Frozen):
    """Labelled rows of each version and how many were wrong, and what a shadow's labels say."""

    candidate: tuple[int, int] = (0, 0)
    champion: tuple[int, int] = (0, 0)
    only_champion_right: int = 0
    only_candidate_right: int = 0


class Watch(Frozen):
    """What has been seen so far."""

    began: str
    first: dict[str, Snapshot] = Field({}, description="By server, as `last` is.")
    sums: dict[str, float] = Field({}, description="Of all servers.")
    last: dict[str, Snapshot] = Field({})
    labelled: Labelled = Labelled()
    labels_read: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Subject:
    """Who is watched, and for how long at most.

    champion: who answers at the same time, or answered before; None when there is no other.
    """

    name: str
    candidate: int
    champion: int | None
    minutes: float
    is_alone: bool = False
    is_shadow: bool = False


def look(run: Run, subject: Subject, texts: Mapping[str, str], judge: Judge) -> Verdict | None:
    """Look once; the verdict, or None when it is too early for one. A verdict never changes.

    texts: what each server counts; of those that did not answer nothing, which is a fault only at
    the end, and if it is none.
    """
    watch = begun(run, subject.name) or Watch(began=clock.text(clock.now()))
    if watch.verdict is not None:
        return watch.verdict
    is_over = _age(watch.began) >= subject.minutes * 60
    for server, text in texts.items():
        watch = _counted(watch, server, counters.read(text, run.config.name))
    watch = _with_labels(run, subject, watch, is_over=is_over)
    verdict = judge(seen(subject, watch), is_over)
    if is_over and not texts and (verdict is None or verdict.is_yes):
        silent = f"the server did not answer at the end of {subject.minutes:g} minutes"
        verdict = Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(silent,))
    keep(run, subject.name, watch.model_copy(update={"verdict": verdict}))
    return verdict


def _counted(watch: Watch, server: str, now: Snapshot) -> Watch:
    """With what a server has counted since it was last looked at; nothing is known of before."""
    update = {
        "first": {server: now} | watch.first,
        "sums": counters.added(watch.sums, watch.last.get(server), now),
        "last": watch.last | {server: now},
    }
    return watch.model_copy(update=update)


def end(run: Run, name: str, verdict: Verdict) -> Verdict:
    """End a watch with this verdict, whatever has been seen."""
    watch = begun(run, name) or Watch(began=clock.text(clock.now()))
    keep(run, name, watch.model_copy(update={"verdict": verdict}))
    return verdict


def wait(looked: Callable[[], Verdict | None]) -> Verdict:
    """Look until there is a verdict; a server that does not answer now is asked again."""
    while True:
        verdict = looked()
        if verdict is not None:
            return verdict
        time.sleep(LOOK_SECONDS)


def written(run: Run, artifact: str, name: str, verdict: Verdict) -> Ref:
    """The artifact that says how a watch ended and what it saw: watched.json."""
    watch = begun(run, name)
    with run.write(artifact) as draft:
        text = watch.model_dump_json(indent=1) if watch else "{}"
        (draft.folder / "watched.json").write_text(text)
        draft.summary |= {"answer": verdict.answer.value, "reasons": "; ".join(verdict.reasons)}
    return draft.done()


def seen(subject: Subject, watch: Watch) -> Seen:
    """What a decision is told."""
    mine = counters.counts(watch.sums, subject.candidate)
    labelled = watch.labelled
    both = None
    if subject.is_shadow:
        both, errors = counters.shadow(watch.sums, subject.candidate)
        both = Shadow(
            rows=both.rows,
            disagreements=both.disagreements,
            only_champion_right=labelled.only_champion_right,
            only_candidate_right=labelled.only_candidate_right,
        )
        mine = Counts(
            requests=both.rows + errors,
            errors=errors,
            rows=both.rows,
            nonfinite=mine.nonfinite,
            latencies=mine.latencies,
        )
    mine = _labelled(mine, labelled.candidate)
    if subject.champion is None:
        return Seen(mine)
    if subject.is_alone:
        before = Counter[str]()
        for snapshot in watch.first.values():
            before.update(snapshot.values)
        return Seen(mine, before=counters.counts(before, subject.champion))
    champion = counters.counts(watch.sums, subject.champion)
    return Seen(mine, _labelled(champion, labelled.champion), shadow=both)


def begun(run: Run, name: str) -> Watch | None:
    """The watch as it was kept, if it has begun."""
    text = run.store.recall(run.config.name, run.id, _key(name))
    try:
        return None if text is None else Watch.model_validate_json(text)
    except ValidationError:
        return None


def keep(run: Run, name: str, watch: Watch) -> None:
    """Keep what has been seen, in one atomic step."""
    run.store.remember(run.config.name, run.id, _key(name), watch.model_dump_json())


def _key(name: str) -> str:
    return f"watch-{name}"


def _age(moment: str) -> float:
    return (clock.now() - clock.parse(moment)).total_seconds()


def _labelled(found: Counts, labelled: tuple[int, int]) -> Counts:
    return Counts(**{**found.__dict__, "labelled": labelled[0], "wrong": labelled[1]})


def _with_labels(run: Run, subject: Subject, watch: Watch, *, is_over: bool) -> Watch:
    """The logs are read now and then, as reading them takes longer than a look."""
    if run.config.task == "regression" or subject.champion is None or subject.is_alone:
        return watch
    pause = min(LABELS_SECONDS, subject.minutes * 60 / 10)
    if watch.labels_read and _age(watch.labels_read) < pause and not is_over:
        return watch
    update = {"labels_read": clock.text(clock.now()), "labelled": _read(run, subject, watch.began)}
    return watch.model_copy(update=update)


def _read(run: Run, subject: Subject, since: str) -> Labelled:
    folder = run.observations()
    # A prediction's time is taken before the watch's file is written, by another clock perhaps.
    since = clock.text(clock.parse(since) - timedelta(seconds=1))
    found: dict[int, list[bool]] = {subject.candidate: [], subject.champion or 0: []}
    right: dict[str, bool] = {}
    truths = {}
    for prediction, label in observations.labelled(folder, since=since):
        is_right = prediction.outputs["label"] == label.label
        found.setdefault(prediction.version, []).append(is_right)
        right[prediction.id], truths[prediction.id] = is_right, label.label
    only_champion = only_candidate = 0
    if subject.is_shadow:
        for prediction in observations.predictions(folder / "shadow", since=since):
            if prediction.version == subject.candidate and prediction.id in right:
                mine = prediction.outputs["label"] == truths[prediction.id]
                only_candidate += mine and not right[prediction.id]
                only_champion += right[prediction.id] and not mine
    return Labelled(
        candidate=_wrong(found[subject.candidate]),
        champion=_wrong(found[subject.champion or 0]),
        only_champion_right=only_champion,
        only_candidate_right=only_candidate,
    )


def _wrong(right: list[bool]) -> tuple[int, int]:
    return len(right), right.count(False)
