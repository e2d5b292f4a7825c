"""Telling people: by every notifier of the pipeline, and not again and again.

A message has subjects. About one subject each notifier speaks once in `notifying.cooldown_minutes`;
what was sent, and what could not be, is in the store's notices. Of an episode of degradation each
cause is a subject, and its end is one more. A person who knows can snooze that for a while. A task
that fails for good is a subject.

A notifier that fails stops nobody: its error is in the log, and the next look at production sends
again what it did not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.errors import ConfigError, PipelineError
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Answer, HistoryEntry, MonitoringRecord, Notice
from pipeline_tasks.run import Run
from pipeline_tasks.sections.settings import Part

log = logging.getLogger(__name__)

SNOOZE = "snooze"
DEGRADED, RECOVERED, FAILED = "degraded", "recovered", "failed"
GIVEN_UP = timedelta(days=1)


def tell(run: Run, title: str, reasons: Sequence[str]) -> None:
    """Say something that happened in this run, once however often a step is retried."""
    _send(run, (f"{run.id} {title}",), title, _listed(reasons))


def failed(run: Run, dag: str, task: str, reasons: Sequence[str]) -> None:
    """Say that a task of a DAG has failed for good; without its name, that one has.

    Who has been told of a task need not be told of its DAG.
    """
    whole = f"{FAILED} {dag}"
    subjects = (f"{whole} {task}", whole) if task else (whole,)
    _send(run, subjects, f"{dag} failed" + f" at {task}" * bool(task), _listed(reasons))


def look(run: Run, record: MonitoringRecord) -> None:
    """Say what a look at production calls for: it is degraded, or it has recovered.

    Before that, what happened and could not be told is told again.
    """
    name = run.config.name
    _send_again(run)
    if (until := snoozed_until(run.store.history(name))) is not None:
        log.info("messages about %s are snoozed until %s", name, clock.text(until))
        return
    where = f"Look at {name}__monitor in Airflow."
    if record.verdict.is_yes:
        subjects = tuple(f"{DEGRADED} {record.episode} {cause}" for cause in record.causes)
        title = f"{name} is degraded: {', '.join(record.causes)}"
        _send(run, subjects, title, f"{_listed(record.verdict.reasons)}\n{where}")
    elif record.verdict.answer is Answer.NO:
        text = f"{_listed(record.verdict.reasons)}\n{where}"
        for notifier, episode in _open_episodes(run):
            _send(run, (f"{RECOVERED} {episode}",), f"{name} has recovered", text, only=notifier)


def snooze(store: Store, pipeline: str, until: datetime, by: str, reason: str) -> None:
    """Say nothing of degradation until then, or, for a moment that has passed, speak again.

    Who did it and why is in the history. Incidents and questions are told all the same.
    Raises ConfigError without a reason or a time zone.
    """
    if not reason.strip():
        raise ConfigError("a snooze needs a reason", fix="say why: it is kept in the history")
    if until.tzinfo is None:
        raise ConfigError(f"{until} has no time zone", fix="say until when in UTC")
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event=SNOOZE,
        run="",
        by=by,
        reasons=(reason,),
        subject=clock.text(until),
    )
    store.record(pipeline, entry)


def snoozed_until(history: Sequence[HistoryEntry]) -> datetime | None:
    """When the pipeline speaks again; None when it does."""
    for entry in reversed(history):
        if entry.event == SNOOZE:
            until = clock.parse(entry.subject)
            return until if until > clock.now() else None
    return None


def _send(
    run: Run, subjects: tuple[str, ...], title: str, text: str, *, only: str | None = None
) -> None:
    """Say it by each notifier that has not said all of it within the cool-down."""
    since = clock.now() - timedelta(minutes=run.config.notifying.cooldown_minutes)
    for name, part in _notifiers(run):
        mine = [one for one in run.store.notices(run.config.name) if one.notifier == name]
        sent = {
            subject
            for one in mine
            for subject in one.subjects
            if one.is_sent and _may_count(one, since)
        }
        if only in (None, name) and not set(subjects) <= sent:
            is_sent = _is_said(name, part, title, text)
            notice = Notice(
                at=clock.text(clock.now()),
                notifier=name,
                subjects=subjects,
                title=title,
                text=text,
                is_sent=is_sent,
            )
            if is_sent or not any(one.subjects == subjects for one in mine[-1:]):
                run.store.record_notice(run.config.name, notice)


def _may_count(notice: Notice, since: datetime) -> bool:
    """Only what lasts is said again; what happened in a run, and an end, happened once."""
    lasts = notice.subjects[0].startswith((DEGRADED, FAILED))
    return not lasts or clock.parse(notice.at) > since


def _send_again(run: Run) -> None:
    """What happened lately and could not be said; degradation is judged anew at each look."""
    since = clock.now() - GIVEN_UP
    waiting: dict[tuple[str, tuple[str, ...]], Notice] = {}
    for one in run.store.notices(run.config.name):
        if one.is_sent:
            waiting.pop((one.notifier, one.subjects), None)
        elif not one.subjects[0].startswith((DEGRADED, RECOVERED)) and clock.parse(one.at) > since:
            waiting[one.notifier, one.subjects] = one
    for one in waiting.values():
        _send(run, one.subjects, one.title, one.text, only=one.notifier)


def _open_episodes(run: Run) -> list[tuple[str, str]]:
    """Each notifier that has told of an episode and not of its end, with that episode."""
    found: dict[str, str] = {}
    for one in run.store.notices(run.config.name):
        kind, _, about = one.subjects[0].partition(" ")
        if one.is_sent and kind == DEGRADED:
            found[one.notifier] = about.rpartition(" ")[0]
        elif one.is_sent and kind == RECOVERED:
            found.pop(one.notifier, None)
    return list(found.items())


def _notifiers(run: Run) -> list[tuple[str, Part]]:
    """Each by a name of its own: its kind, with a number where there are more of one kind."""
    kinds = [part.kind for part in run.config.notifiers]
    numbers = [kinds[:place].count(kind) + 1 for place, kind in enumerate(kinds)]
    names = [
        kind if one == 1 else f"{kind} {one}" for kind, one in zip(kinds, numbers, strict=True)
    ]
    return list(zip(names, run.config.notifiers, strict=True))


def _is_said(name: str, part: Part, title: str, text: str) -> bool:
    try:
        module = registry.part("notifiers", part.kind)
        params = registry.params("notifiers", part.kind, part.settings())
        module.notify(params, title=title, text=text)
    except PipelineError as error:
        log.error("the notifier %s could not say %r, and tries again: %s", name, title, error)
    except Exception as error:
        # What a library says may have a secret in it.
        log.error("the notifier %s could not say %r: %s", name, title, type(error).__name__)
    else:
        return True
    return False


def _listed(reasons: Sequence[str]) -> str:
    return "\n".join(f"- {reason}" for reason in reasons)
