"""Decide: does this alarm call for a training run?"""

from __future__ import annotations

import json

from pipeline_tasks import observations
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import RETRAINING
from pipeline_tasks.core.values import Answer, HistoryEntry, MonitoringRecord, Ref, Verdict
from pipeline_tasks.decisions.retraining import Evidence, retraining
from pipeline_tasks.run import Run, step


@step(reads=("retraining",), reusable=False)
def decide(run: Run, subject: str) -> Ref:
    """Weigh one degraded monitoring record; each is decided once.

    subject: the record's id. Writes the artifact `decision`: decision.json, and adds the decision
    to the pipeline's history. Raises ArtifactError when there is no such record.
    """
    record = _find(run, subject)
    evidence = _evidence(run, record)
    verdict = retraining(run.config.retraining, evidence).verdict
    with run.write("decision") as draft:
        content = {
            "verdict": verdict.model_dump(mode="json"),
            "evidence": evidence.__dict__,
            "monitoring": record.model_dump(mode="json"),
        }
        (draft.folder / "decision.json").write_text(json.dumps(content, indent=1))
        draft.summary |= {
            "answer": verdict.answer.value,
            "reasons": "; ".join(verdict.reasons),
            "episode": record.episode,
            "labelled": evidence.labelled,
        }
    _keep(run, record, verdict)
    return draft.done()


def _find(run: Run, subject: str) -> MonitoringRecord:
    for record in run.store.monitoring(run.config.name):
        if record.id == subject:
            return record
    raise ArtifactError(
        f"{run.config.name} has no monitoring record {subject!r}",
        fix=f"run {run.config.name}__monitor",
    )


def _evidence(run: Run, record: MonitoringRecord) -> Evidence:
    name = run.config.name
    champion = run.store.champion(name)
    since = champion.promoted_at if champion else ""
    labelled = observations.count_labelled(run.observations(), since=since)
    trained = [
        entry
        for entry in run.store.history(name)
        if entry.event == RETRAINING and entry.answer is Answer.YES and entry.run != run.id
    ]
    latest = max((clock.parse(entry.at) for entry in trained), default=None)
    return Evidence(
        causes=record.causes if record.verdict.is_yes else (),
        reasons=record.verdict.reasons if record.verdict.is_yes else (),
        labelled=labelled,
        is_answered=any(entry.episode == record.episode for entry in trained),
        minutes_since=(clock.now() - latest).total_seconds() / 60 if latest else None,
    )


def _keep(run: Run, record: MonitoringRecord, verdict: Verdict) -> None:
    known = run.store.history(run.config.name)
    if any(entry.event == RETRAINING and entry.run == run.id for entry in known):
        return
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event=RETRAINING,
        run=run.id,
        by=run.by,
        reasons=verdict.reasons,
        subject=record.id,
        answer=verdict.answer,
        episode=record.episode,
        version=record.version,
    )
    run.store.record(run.config.name, entry)
