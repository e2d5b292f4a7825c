"""Monitor: quality, drift and service against what the champion was promoted with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pipeline_tasks import storages
from pipeline_tasks.core import clock
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Answer, Champion, MonitoringRecord, Ref, Verdict
from pipeline_tasks.data import rows
from pipeline_tasks.decisions.alarm import Alarm, Charted, Drift, Service, alarm
from pipeline_tasks.decisions.drift import AMONG, drift
from pipeline_tasks.monitoring import drifting, looking, notifying
from pipeline_tasks.monitoring.logged_arrays import TIME
from pipeline_tasks.run import Run, step
from pipeline_tasks.validation import charting, expecting, realised
from pipeline_tasks.validation.estimating import Estimated
from pipeline_tasks.validation.look import Look
from pipeline_tasks.validation.realised import Answered

if TYPE_CHECKING:
    from numpy.typing import NDArray

Facts = Mapping[str, Any]


@step(
    reads=("columns", "label", "metrics", "promotion", "evaluation", "monitoring"), reusable=False
)
def monitor(run: Run, window: Ref) -> Ref:
    """Say whether production is healthy, with reasons, and add the record to the pipeline's.

    The reference is what the champion was judged on: the latest labelled rows of its own training
    run, or its test rows. Degraded by drift is what 2 of the last 3 windows say of the same thing;
    by quality, what labels say of this window, or of many by control charts that go on from look to
    look. Quality estimated without labels is shown, and never a reason to act.

    Writes the artifact `monitoring`: report.json. verdict, causes; window: all of window.json;
    quality: metric, value, low, high (95 %), rows, promoted_value, ... or null; slices: the same by
    column and part; estimated: metric, value, low, high (95 % band), rows, expected (on held-out
    rows), or null; drift: the detector's findings, each with name, is_enough, is_drift, reason,
    strength (above 1 it is drift), effect, floor (the least that matters), unit, bins,
    reference_shares, current_shares; drifted: names of what has drifted in enough windows; charts:
    said (name, cause, is_alarm, reason, changed_at: the last moment before what it alarms of) and
    state, which the next look goes on from, or null;
    service: latencies in ms, memory in MB.

    Its record's numbers have window.json's, and quality, quality_low, quality_high, estimated,
    estimated_low, estimated_high, largest_drift (above 1 it is drift), largest_drift_of,
    drifted (how many in this window), compared, latency_p50_ms, _p95_ms, _p99_ms and rows.
    """
    folder = run.open(window)
    facts: Any = read_json(folder / "window.json")
    found = _look(run, folder, facts)
    with run.write("monitoring") as draft:
        content = found.as_json() | {"window": facts}
        (draft.folder / looking.REPORT).write_text(json.dumps(content, indent=1))
        draft.summary |= {
            "answer": found.judged.verdict.answer.value,
            "reasons": "; ".join(found.judged.verdict.reasons),
            "causes": ", ".join(found.judged.causes),
            "rows": facts["predictions"],
            "labelled": facts["labelled"],
        }
    record = _record(run, draft.done(), found, facts)
    run.store.record_monitoring(run.config.name, record)
    notifying.look(run, record)
    return draft.done()


def _look(run: Run, folder: Path, facts: Facts) -> Look:
    champion = run.store.champion(run.config.name)
    service = _service(run, facts)
    if champion is None or champion.version != facts["version"]:
        return Look(_nothing_to_judge(run, champion), service)
    labelled = rows.read_arrays(folder / "labelled.npz")
    now = Answered(labelled["_truth"], labelled["_answer"])
    evaluation = run.open(champion.evaluation)
    quality = realised.quality(run.config, now, _promoted(run, champion))
    findings, drifted = _drift(run, champion, folder, facts)
    said, state = _charts(run, evaluation, facts, now, labelled[TIME])
    estimated, of = _estimate(run, evaluation, folder, facts)
    judged = alarm(
        run.config.monitoring,
        quality=quality,
        drift=drifted,
        charts=[*said, *_failures(run, facts)],
        service=service,
        hints=_hints(estimated, of),
    )
    return Look(
        judged=judged,
        service=service,
        quality=quality,
        slices=realised.by_slice(run.config, labelled, now, expecting.cut_by(evaluation)),
        estimated=estimated,
        estimator=of,
        findings=findings,
        drifted=drifted.names,
        charts=state and {"said": [asdict(one) for one in said], "state": state},
        changed_at=_changed_at(champion, said),
    )


def _nothing_to_judge(run: Run, champion: Champion | None) -> Alarm:
    reason = (
        f"no model is in production yet: run {run.config.name}__train"
        if champion is None
        else f"version {champion.version} has just become the champion: look again later"
    )
    return Alarm(Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(reason,)), ())


def _promoted(run: Run, champion: Champion) -> Answered:
    """The truth, and the champion's answer when it was judged."""
    split = "recent" if storages.has(run.open(champion.prepared), "recent") else "test"
    values = "values" if run.config.task == "regression" else "probabilities"
    names = [f"{split}_label", f"{split}_{values}"]
    kept = rows.read_arrays(run.open(champion.evaluation) / "predictions.npz", names)
    return Answered(*(kept[name] for name in names))


def _drift(run: Run, champion: Champion, folder: Path, facts: Facts) -> tuple[Sequence[Any], Drift]:
    """Findings of this window, and what they say together with the last ones'."""
    minimum, count = run.config.monitoring.minimum_rows, facts["predictions"]
    if count < minimum:
        few = f"{count} predictions since the last verdict, {minimum} needed"
        return (), Drift(Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(few,)))
    found, obstacle = drifting.findings(run, champion, folder)
    if not found:
        return (), Drift(Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(obstacle,)))
    earlier = looking.findings(run, looking.before(run, champion.version), AMONG - 1)
    return found, Drift(*drift([*earlier, found]))


def _charts(
    run: Run, evaluation: Path, facts: Facts, now: Answered, times_ms: NDArray[Any]
) -> tuple[tuple[Charted, ...], Any]:
    """What the charts of errors say, and their state; nothing before there are enough labels."""
    charts = expecting.charts(evaluation)
    if charts is None:
        return (), None
    kept = looking.charts(run, looking.before(run, facts["version"]))
    before = charting.State.model_validate(kept) if kept else None
    state = charting.go_on(charts, before, now.truth, now.answer, times_ms)
    rules = run.config.monitoring
    said = charting.judge(charts, state, rules.quality_drop)
    return (said if len(now.truth) >= rules.minimum_rows else ()), state.model_dump(mode="json")


def _changed_at(champion: Champion, said: Sequence[Charted]) -> str:
    """The later of what the charts say: one that has alarmed before may mean an earlier change."""
    moments = [one.changed_at for one in said if one.is_alarm]
    return max([champion.promoted_at, *moments]) if moments else ""


def _failures(run: Run, facts: Facts) -> list[Charted]:
    """What a chart says of failed requests, where the server counts them."""
    earlier: list[Facts] = [one.numbers for one in looking.before(run, facts["version"])]
    counted = [one for one in [*earlier, facts] if one.get("error_share") is not None]
    if facts.get("error_share") is None:
        return []
    requests = median(float(one.get("requests") or 1) for one in counted)
    said = charting.judge_failures([float(one["error_share"]) for one in counted], requests)
    return [said] if said else []


def _estimate(
    run: Run, evaluation: Path, folder: Path, facts: Facts
) -> tuple[Estimated | None, tuple[str, float]]:
    """Quality without labels, and which metric that is with its value on held-out rows."""
    estimator = expecting.estimator(evaluation)
    if estimator is None or facts["predictions"] < run.config.monitoring.minimum_rows:
        return None, ("", 0.0)
    only = None if estimator.errors else ["_answer"]
    arrays = rows.read_arrays(folder / "window.npz", only)
    columns = drifting.features(arrays, run.config)
    estimated = estimator.estimate(columns, arrays["_answer"])
    return estimated, (estimator.metric, estimator.value)


def _hints(estimated: Estimated | None, of: tuple[str, float]) -> list[str]:
    if estimated is None:
        return []
    return [
        f"beside: {of[0]} estimated without labels {estimated.value:.4g} ({estimated.low:.4g} to "
        f"{estimated.high:.4g}) on {estimated.rows} answers, {of[1]:.4g} on held-out rows"
    ]


def _service(run: Run, facts: Facts) -> Service:
    """Latencies of few requests say nothing."""
    is_enough = facts["predictions"] >= run.config.monitoring.minimum_rows
    names = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
    return Service(
        is_answering=facts["server_is_answering"],
        memory_mb=facts["server_memory_mb"],
        **{name: facts[name] if is_enough else None for name in names},
    )


def _record(run: Run, report: Ref, found: Look, facts: Facts) -> MonitoringRecord:
    """A window that was too small is not used up: it grows until the next look."""
    minimum = run.config.monitoring.minimum_rows
    mine = looking.before(run, facts["version"])
    champion = run.store.champion(run.config.name)
    start = champion.promoted_at if champion else ""
    before = (mine[-1].prediction_watermark, mine[-1].label_watermark) if mine else (start, start)
    return MonitoringRecord(
        id=run.id,
        at=clock.text(clock.now()),
        version=facts["version"],
        verdict=found.judged.verdict,
        causes=found.judged.causes,
        episode=_episode(run.id, mine) if found.judged.verdict.is_yes else "",
        report=report,
        numbers={**facts, **found.numbers(), "rows": facts["predictions"]},
        prediction_watermark=(
            facts["prediction_watermark"] if facts["predictions"] >= minimum else before[0]
        ),
        label_watermark=facts["label_watermark"] if facts["labelled"] >= minimum else before[1],
        changed_at=found.changed_at,
    )


def _episode(run_id: str, records: list[MonitoringRecord]) -> str:
    """The first degraded look since the last healthy one, of the same champion."""
    for record in reversed(records):
        if record.verdict.answer is Answer.YES:
            return record.episode
        if record.verdict.answer is Answer.NO:
            break
    return run_id
