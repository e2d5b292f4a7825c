"""Decide: the candidate goes on to deployment, or the champion stays."""

from __future__ import annotations

import json
from typing import Any

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Answer, HistoryEntry, Ref, Verdict
from pipeline_tasks.decisions.promotion import Judged, promotion
from pipeline_tasks.run import Run, step


@step(reads=("promotion",), reusable=False)
def gate(run: Run, evaluation: Ref, model: Ref) -> Ref:
    """Say yes or no to the candidate, with reasons; a refusal is no error.

    Writes the artifact `verdict`: verdict.json. A refusal is added to the pipeline's history.
    """
    verdict = _verdict(run, evaluation, model)
    with run.write("verdict") as draft:
        (draft.folder / "verdict.json").write_text(json.dumps(verdict.model_dump(mode="json")))
        draft.summary |= {"answer": verdict.answer.value, "reasons": "; ".join(verdict.reasons)}
    if not verdict.is_yes and not _is_champion(run, model):
        _record_refusal(run, verdict)
    return draft.done()


def _verdict(run: Run, evaluation: Ref, model: Ref) -> Verdict:
    if _is_champion(run, model):
        reason = "the candidate is the champion itself: nothing it depends on has changed"
        return Verdict(answer=Answer.NO, reasons=(reason,))
    report: Any = read_json(run.open(evaluation) / "evaluation.json")
    return promotion(run.config.promotion, _judged(report["splits"], run.config.promotion.metric))


def _is_champion(run: Run, model: Ref) -> bool:
    champion = run.store.champion(run.config.name)
    return champion is not None and champion.model.digest == model.digest


def _judged(splits: dict[str, Any], metric: str) -> dict[str, Judged]:
    return {
        name: Judged(
            rows=part["rows"],
            candidate=part["candidate"][metric],
            champion=part["champion"][metric] if part["champion"] else None,
        )
        for name, part in splits.items()
    }


def _record_refusal(run: Run, verdict: Verdict) -> None:
    champion = run.store.champion(run.config.name)
    entry = HistoryEntry(
        at=clock.text(clock.now()),
        event="refusal",
        run=run.id,
        by=run.by,
        reasons=verdict.reasons,
        version=champion.version if champion else None,
    )
    run.store.record(run.config.name, entry)
