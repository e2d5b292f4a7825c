"""Decide: does what production shows call for a training run?"""

from __future__ import annotations

import json
import logging

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import RETRAINING
from pipeline_tasks.core.values import Answer, HistoryEntry, MonitoringRecord, Ref, Verdict
from pipeline_tasks.decisions.retraining import nightly, retraining
from pipeline_tasks.monitoring import evidence
from pipeline_tasks.run import Run, step, summary_text

log = logging.getLogger(__name__)


@step(reads=("retraining",), reusable=False)
def decide(
    run: Run,
    subject: str,
    reason: str | None = None,
    approved_by: str = "",
    refused_by: str = "",
) -> Ref:
    """Weigh one occasion, and keep the decision with its evidence in the pipeline's history.

    subject: the id of a degraded monitoring record, or why there is none: `due`, `by_hand`. Of
    several decisions at the same time each knows of the ones before it. reason: why a person wants
    a training now. approved_by, refused_by: the person who was asked, by the same run.
    Writes the artifact `decision`: decision.json, with what a nightly schedule would have done
    since the last one. Raises ArtifactError when there is no such record.
    """
    record = None if subject in (evidence.DUE, evidence.BY_HAND) else _find(run, subject)
    with run.store.lock(run.config.name):
        mine = [
            entry
            for entry in run.store.history(run.config.name)
            if entry.event == RETRAINING and entry.run == run.id
        ]
        if not mine:
            mine = [_decided(run, subject, record, reason or "")]
            run.store.record(run.config.name, mine[0])
        if (approved_by or refused_by) and mine[-1].answer is Answer.ASK:
            mine.append(_answered(mine[-1], approved_by, refused_by))
            run.store.record(run.config.name, mine[-1])
    return _written(run, mine[-1], record)


def _find(run: Run, subject: str) -> MonitoringRecord:
    for record in run.store.monitoring(run.config.name):
        if record.id == subject:
            return record
    raise ArtifactError(
        f"{run.config.name} has no monitoring record {subject!r}",
        fix=f"run {run.config.name}__monitor",
    )


def _decided(run: Run, subject: str, record: MonitoringRecord | None, reason: str) -> HistoryEntry:
    past = evidence.known(run, record)
    found = evidence.gather(run, past, forced=reason)
    decision = retraining(run.config.retraining, found)
    spared = nightly(evidence.days_since_the_last(past), evidence.training_seconds(run, past))
    log.info("since the last decision a nightly schedule would have done %s", spared.text)
    numbers = evidence.numbers(found) | {"nightly_trainings": spared.trainings}
    if spared.seconds is not None:
        numbers["nightly_seconds"] = round(spared.seconds, 1)
    log.info("the evidence%s", summary_text(numbers))
    return HistoryEntry(
        at=clock.text(clock.now()),
        event=RETRAINING,
        run=run.id,
        by=run.by,
        reasons=decision.verdict.reasons,
        subject=subject,
        answer=decision.verdict.answer,
        episode=evidence.episode(run, past, decision),
        version=record.version if record else past.champion and past.champion.version,
        causes=decision.causes,
        changed_at=evidence.change_of(past, decision),
        numbers=numbers,
    )


def _answered(asked: HistoryEntry, approved_by: str, refused_by: str) -> HistoryEntry:
    """The decision of the person who was asked."""
    said = f"approved by {approved_by}" if approved_by else f"refused by {refused_by}"
    changes = {
        "at": clock.text(clock.now()),
        "by": approved_by or refused_by,
        "answer": Answer.YES if approved_by else Answer.NO,
        "reasons": (said, *asked.reasons),
    }
    return asked.model_copy(update=changes)


def _written(run: Run, entry: HistoryEntry, record: MonitoringRecord | None) -> Ref:
    with run.write("decision") as draft:
        content = {
            "verdict": Verdict(answer=entry.answer or Answer.NO, reasons=entry.reasons),
            "causes": entry.causes,
            "evidence": entry.numbers,
            "changed_at": entry.changed_at,
            "monitoring": record,
        }
        text = json.dumps(content, indent=1, default=lambda value: value.model_dump(mode="json"))
        (draft.folder / "decision.json").write_text(text)
        draft.summary |= {
            "answer": str(entry.answer),
            "reasons": "; ".join(entry.reasons),
            "episode": entry.episode,
            "causes": ", ".join(entry.causes),
            "labelled": entry.numbers.get("labelled"),
            "nightly_trainings": entry.numbers.get("nightly_trainings"),
        }
    return draft.done()
