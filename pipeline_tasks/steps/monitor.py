"""Monitor: quality, drift and service against what the champion was promoted with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks import notifying, rows, storages
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.store import read_json
from pipeline_tasks.core.values import Answer, Champion, MonitoringRecord, Ref, Verdict
from pipeline_tasks.decisions.alarm import Alarm, Drift, Quality, Service, alarm
from pipeline_tasks.metrics import taken
from pipeline_tasks.run import Run, step
from pipeline_tasks.validation import intervals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline_tasks.detectors.histogram import Finding


@step(reads=("columns", "label", "metrics", "promotion", "monitoring"), reusable=False)
def monitor(run: Run, window: Ref) -> Ref:
    """Say whether production is healthy, with reasons, and add the record to the pipeline's.

    The reference is what the champion was judged on: the latest labelled rows of its own training
    run, or its test rows. Writes the artifact `monitoring`: report.json with every number.
    """
    folder = run.open(window)
    facts: Any = read_json(folder / "window.json")
    champion = run.store.champion(run.config.name)
    findings: list[Finding] = []
    quality = None
    service = _service(run.config, folder, facts)
    if champion is None or champion.version != facts["version"]:
        judged = _nothing_to_judge(run, champion)
    else:
        quality = _quality(run, folder, champion)
        findings = _findings(run, folder, champion)
        judged = _judge(run.config, facts, quality, findings, service)
    with run.write("monitoring") as draft:
        report = {
            "verdict": judged.verdict.model_dump(mode="json"),
            "causes": judged.causes,
            "window": facts,
            "quality": quality.__dict__ if quality else None,
            "service": service.__dict__,
            "drift": [one.model_dump(mode="json") for one in findings],
        }
        (draft.folder / "report.json").write_text(json.dumps(report, indent=1))
        draft.summary |= {
            "answer": judged.verdict.answer.value,
            "reasons": "; ".join(judged.verdict.reasons),
            "causes": ", ".join(judged.causes),
            "rows": facts["predictions"],
            "labelled": facts["labelled"],
        }
    record = _record(run, draft.done(), facts, judged)
    run.store.record_monitoring(run.config.name, record)
    notifying.look(run, record)
    return draft.done()


def _nothing_to_judge(run: Run, champion: Champion | None) -> Alarm:
    reason = (
        f"no model is in production yet: run {run.config.name}__train"
        if champion is None
        else f"version {champion.version} has just become the champion: look again later"
    )
    return Alarm(Verdict(answer=Answer.NOT_ENOUGH_DATA, reasons=(reason,)), ())


def _quality(run: Run, window: Path, champion: Champion) -> Quality | None:
    import numpy as np

    metric = run.config.promotion.metric
    part = registry.part("metrics", metric)
    found = rows.read_arrays(window / "labelled.npz")
    if not len(found["_truth"]):
        return None
    now, promoted = (found["_truth"], found["_answer"]), _promoted(run, champion)
    values = [part.compute(truth, taken(part.NEEDS, answer)) for truth, answer in (now, promoted)]
    return Quality(
        metric=metric,
        value=values[0],
        rows=len(now[0]),
        promoted_value=values[1],
        promoted_rows=len(promoted[0]),
        has_answers=bool(np.isfinite(now[1]).all()),
        is_error=not part.HIGHER_IS_BETTER,
        has_unit=getattr(part, "HAS_UNIT", False),
        spread=intervals.spread_of_difference(part, now, promoted),
    )


def _findings(run: Run, window: Path, champion: Champion) -> list[Finding]:
    arrays = rows.read_arrays(window / "window.npz")
    if not len(arrays["_answer"]):
        return []
    old, new = _features(_reference(run, champion), run.config), _features(arrays, run.config)
    both = [one for one in old if one in new and old[one].dtype.kind == new[one].dtype.kind]
    detector = run.config.monitoring.detector
    part = registry.part("detectors", detector.kind)
    params = registry.params("detectors", detector.kind, detector.settings())
    return [part.compare(params, name, old[name], new[name], tests=len(both)) for name in both]


def _split(run: Run, champion: Champion) -> str:
    """What the champion was judged on."""
    is_there = storages.has(run.open(champion.prepared), "recent")
    return "recent" if is_there else "test"


def _promoted(run: Run, champion: Champion) -> tuple[NDArray[Any], NDArray[Any]]:
    """The truth, and the champion's answer when it was judged."""
    split = _split(run, champion)
    kept = rows.read_arrays(run.open(champion.evaluation) / "predictions.npz")
    values = "values" if run.config.task == "regression" else "probabilities"
    return kept[f"{split}_label"], kept[f"{split}_{values}"]


def _reference(run: Run, champion: Champion) -> rows.Arrays:
    arrays = storages.read(run.open(champion.prepared), _split(run, champion))
    return arrays | {"_answer": _promoted(run, champion)[1]}


def _features(arrays: rows.Arrays, config: PipelineConfig) -> dict[str, NDArray[np.generic]]:
    """What is compared: each column, an image by brightness and contrast, and the answers.

    A column that is not there, because the pipeline file did not have it then, is left out.
    """
    import numpy as np

    features: dict[str, NDArray[np.generic]] = {}
    there = {name: column for name, column in rows.observed(config).items() if name in arrays}
    for name, column in there.items():
        values: Any = arrays[name]
        if column.type == "image":
            flat = values.reshape(len(values), -1)
            features |= {
                f"{name} brightness": flat.mean(axis=1),
                f"{name} contrast": flat.std(axis=1),
            }
        elif column.type == "text":
            lengths = [len(text) for text in values]
            features[f"{name} length"] = np.array(lengths, dtype=np.float64)
        else:
            features[name] = values
        if column.may_be_missing and column.type == "number":
            features[f"{name} missing"] = np.isnan(values).astype(np.str_)
    answer: Any = arrays["_answer"]
    if config.task == "regression":
        return features | {"answer": answer}
    said = {"answer": answer.argmax(axis=1).astype(np.str_), "confidence": answer.max(axis=1)}
    return features | said


def _service(config: PipelineConfig, window: Path, facts: Any) -> Service:
    import numpy as np

    latencies = rows.read_arrays(window / "window.npz")["_latency_ms"].astype("float64")
    is_enough = len(latencies) >= config.monitoring.minimum_rows
    p50, p99 = np.percentile(latencies, (50, 99)).tolist() if is_enough else (None, None)
    return Service(
        is_answering=facts["server_is_answering"],
        latency_p50_ms=p50,
        latency_p99_ms=p99,
        memory_mb=facts["server_memory_mb"],
    )


def _judge(
    config: PipelineConfig,
    facts: Any,
    quality: Quality | None,
    findings: list[Finding],
    service: Service,
) -> Alarm:
    drifts = [
        Drift(
            feature=one.feature,
            effect=one.effect,
            p_value=one.p_value,
            is_drift=one.is_drift,
        )
        for one in findings
    ]
    return alarm(
        config.monitoring,
        rows=facts["predictions"],
        quality=quality,
        drifts=drifts,
        service=service,
    )


def _record(run: Run, report: Ref, facts: Any, judged: Alarm) -> MonitoringRecord:
    """A window that was too small is not used up: it grows until the next look."""
    minimum = run.config.monitoring.minimum_rows
    records = [one for one in run.store.monitoring(run.config.name) if one.id != run.id]
    mine = [one for one in records if one.version == facts["version"]]
    champion = run.store.champion(run.config.name)
    start = champion.promoted_at if champion else ""
    before = (mine[-1].prediction_watermark, mine[-1].label_watermark) if mine else (start, start)
    return MonitoringRecord(
        id=run.id,
        at=clock.text(clock.now()),
        version=facts["version"],
        verdict=judged.verdict,
        causes=judged.causes,
        episode=_episode(run.id, mine) if judged.verdict.is_yes else "",
        report=report,
        numbers=facts,
        prediction_watermark=(
            facts["prediction_watermark"] if facts["predictions"] >= minimum else before[0]
        ),
        label_watermark=facts["label_watermark"] if facts["labelled"] >= minimum else before[1],
    )


def _episode(run_id: str, records: list[MonitoringRecord]) -> str:
    """The first degraded look since the last healthy one, of the same champion."""
    for record in reversed(records):
        if record.verdict.answer is Answer.YES:
            return record.episode
        if record.verdict.answer is Answer.NO:
            break
    return run_id
