"""Decide: the candidate goes on to deployment, or the champion stays."""

from __future__ import annotations

import json
import math
from typing import Any

from pipeline_tasks.core import registry
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Answer, Ref, Verdict
from pipeline_tasks.decisions.pairing import Pair
from pipeline_tasks.decisions.promotion import Cost, Judged, Scale, Slice, promotion
from pipeline_tasks.release import quarantine
from pipeline_tasks.run import Run, step


@step(reads=("promotion",), reusable=False)
def gate(run: Run, evaluation: Ref, model: Ref, approved_by: str = "") -> Ref:
    """Say yes or no to the candidate, with reasons; a refusal is no error.

    A model in quarantine is refused until a person approves it, which lifts the quarantine.
    approved_by: the person who takes the candidate whatever the rules say; kept among the reasons.
    Writes the artifact `verdict`: verdict.json. A refusal is added to the pipeline's history.
    """
    verdict = _verdict(run, evaluation, model, approved_by)
    with run.write("verdict") as draft:
        (draft.folder / "verdict.json").write_text(json.dumps(verdict.model_dump(mode="json")))
        draft.summary |= {"answer": verdict.answer.value, "reasons": "; ".join(verdict.reasons)}
    if not verdict.is_yes and not _is_champion(run, model):
        run.record_refusal(verdict)
    return draft.done()


def _verdict(run: Run, evaluation: Ref, model: Ref, approved_by: str) -> Verdict:
    if _is_champion(run, model):
        reason = "the candidate is the champion itself: nothing it depends on has changed"
        return Verdict(answer=Answer.NO, reasons=(reason,))
    held = quarantine.found(run.store, run.config.name, model)
    if held and not approved_by:
        return Verdict(answer=Answer.NO, reasons=(f"this model is {quarantine.text(held)}",))
    quarantine.lift(run, model, f"approved by {approved_by}")
    folder = run.open(evaluation)
    report: Any = read_json(folder / "evaluation.json")
    paired: Any = read_json(folder / "paired.json")
    metric = run.config.promotion.metric
    kinds = {metric, *run.config.promotion.thresholds}
    judged = {
        name: _judged(part, paired[name].get(metric), metric)
        for name, part in report["splits"].items()
    }
    parts = {kind: registry.part("metrics", kind) for kind in kinds}
    return promotion(
        run.config.promotion,
        judged,
        approved_by=approved_by,
        obstacles=report["obstacles"],
        scales={kind: Scale.of(part) for kind, part in parts.items()},
        cost=Cost(
            model_bytes=sum(file.stat().st_size for file in run.open(model).glob("*.npz")),
            ms_per_1000_rows=report["splits"]["test"]["ms_per_1000_rows"],
        ),
    )


def _is_champion(run: Run, model: Ref) -> bool:
    champion = run.store.champion(run.config.name)
    return champion is not None and champion.model.digest == model.digest


def _judged(part: Any, pair: Any, metric: str) -> Judged:
    """part: the split's in evaluation.json; pair: its metric's in paired.json, if there is one."""
    return Judged(
        rows=part["rows"],
        candidate=part["candidate"][metric],
        champion=part["champion"][metric] if part["champion"] else None,
        pair=Pair(**{**pair, "differences": tuple(pair["differences"])}) if pair else Pair(),
        others=part["candidate"],
        slices=tuple(
            Slice(
                name=f"{one['column']} {one['value']}",
                rows=one["rows"],
                candidate=_number(one["candidate"][metric]),
                champion=_number(one["champion"][metric]),
            )
            for one in part["slices"]
            if one["champion"]
        ),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
