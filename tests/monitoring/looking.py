"""A champion that nobody trained, and the log and labels of its predictions at any moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import yaml

from pipeline_tasks import config, loop
from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Answer, Champion, MonitoringRecord, Ref, Verdict
from pipeline_tasks.run import Run

CONTENT = {
    "source": {"kind": "csv", "path": "none.csv"},
    "columns": {"x": {"type": "number"}, "plan": {"type": "category", "values": ["a", "b"]}},
    "label": {"name": "kind", "classes": [0, 1]},
    "model": {"kind": "mlp"},
    "target": {"kind": "archive"},
}
REF = Ref(pipeline="small", run="none", artifact="none", digest="")
ARTIFACTS = dict.fromkeys(("model", "evaluation", "prepared", "exported"), REF)


class Looking:
    """The pipeline `small`, whose version 1 was promoted ten hours ago."""

    def __init__(self, folder: Path, *, server: str = "", **changes: object) -> None:
        self.folder, self._server = folder, server
        self.yaml = folder / "small.yaml"
        self.yaml.write_text(yaml.safe_dump(CONTENT | changes))
        self.store = Store(folder / "store")
        self.log = self.store.observations("small")
        self._numbers, self._files = count(), count()
        self.promote(1, hours=10)

    def promote(self, version: int, *, hours: float) -> None:
        champion = Champion(version=version, run="none", promoted_at=ago(hours=hours), **ARTIFACTS)
        self.store.set_champion("small", champion)

    def ask(self, rows: int, *, version: int = 1, **since: float) -> list[str]:
        """Log predictions of that long ago; returns their ids."""
        moment = clock.now() - timedelta(**since)
        ids = [self._id(moment) for _ in range(rows)]
        outputs = {"label": 1, "probabilities": [0.25, 0.75]}
        row = {"version": version, "inputs": {"x": 0.5, "plan": "a"}, "outputs": outputs}
        lines = [{"id": key, "time": clock.text(moment), "latency_ms": 2.0} | row for key in ids]
        self._write("predictions", lines)
        return ids

    def tell(self, labels: Mapping[str, object], at: str = "", **since: float) -> None:
        """Labels that arrived that long ago, true of a moment if it is told."""
        moment = ago(**since)
        more = {"observed_at": at} if at else {}
        lines = [{"id": key, "time": moment, "label": one} | more for key, one in labels.items()]
        self._write("labels", lines)

    def look(self, run_id: str, *, minimum: int = 1) -> dict[str, object]:
        """collect, and a record as monitor keeps it; returns the facts."""
        window = self.collect(run_id)
        facts = window.summary
        known = self.store.monitoring("small")
        start = known[-1].label_watermark if known else ago(hours=10)
        is_enough = int(str(facts["labelled"])) >= minimum
        record = MonitoringRecord(
            id=run_id,
            at=ago(),
            version=1,
            verdict=Verdict(answer=Answer.NO, reasons=()),
            causes=(),
            episode="",
            report=window,
            numbers=facts,
            prediction_watermark=str(facts["prediction_watermark"]),
            label_watermark=str(facts["label_watermark"]) if is_enough else start,
        )
        self.store.record_monitoring("small", record)
        return facts

    def collect(self, run_id: str) -> Ref:
        """The window's reference."""
        return loop.function("collect")(self.run(run_id))

    def run(self, run_id: str) -> Run:
        """A run of the pipeline."""
        more = {"server": self._server} if self._server else {}
        models = self.folder / "models"
        found = config.load(self.yaml)
        return Run(config=found, id=run_id, store=self.store, models=models, **more)

    def _id(self, moment: datetime) -> str:
        milliseconds = int(moment.timestamp() * 1000)
        return f"{milliseconds:012x}7abc8{next(self._numbers):015x}-0"

    def _write(self, kind: str, lines: list[dict[str, object]]) -> None:
        path = self.log / kind / str(lines[0]["time"])[:10] / f"{next(self._files):04}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def ago(**since: float) -> str:
    """A moment that long ago, as text."""
    return clock.text(clock.now() - timedelta(**since))
