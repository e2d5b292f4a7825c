"""A small pipeline whose production is written by the test: predictions, labels and looks."""

from __future__ import annotations

import json
from datetime import timedelta

from pipeline_tasks import loop
from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Answer, MonitoringRecord, Ref, Verdict
from tests.small import Small, csv_text

MISSING = -99.0
REPORT = Ref(pipeline="small", run="look", artifact="monitoring", digest="d")


class Production:
    """Time goes on by ten milliseconds with each row."""

    def __init__(self, store: Store, name: str = "small") -> None:
        self.store, self.name = store, name
        self._now = clock.now()
        self.sent: dict[str, list[tuple[float, float]]] = {}

    def observe(self, name: str, count: int, *, seed: int, is_turned: bool = False) -> str:
        """Labelled rows; turned, the same inputs mean the contrary. The moment of the last one."""
        self._now = max(self._now, clock.now())
        folder = self.store.observations(self.name)
        lines: dict[str, list[dict[str, object]]] = {"predictions": [], "labels": []}
        for index, line in enumerate(csv_text(count, seed).splitlines()[1:]):
            width, height, colour, kind = line.split(",")
            self._now += timedelta(milliseconds=10)
            moment, identity = clock.text(self._now), f"{name}-{index}"
            inputs = {"width": float(width), "height": float(height or "nan"), "colour": colour}
            said = {"label": int(kind), "probabilities": [0.5, 0.5]}
            one = {"id": identity, "time": moment, "version": 1, "inputs": inputs}
            lines["predictions"].append(one | {"outputs": said, "latency_ms": 1.0})
            truth = 1 - int(kind) if is_turned else int(kind)
            lines["labels"].append({"id": identity, "time": moment, "label": truth})
            self.sent.setdefault(name, []).append((float(width), float(height or MISSING)))
        for kind, found in lines.items():
            path = folder / kind / moment[:10] / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in found))
        return moment

    def look(
        self, name: str, seen_to: str, *, episode: str = "", causes=("quality",), changed_at=""
    ) -> str:
        """One look at production: degraded if it belongs to an episode."""
        champion = self.store.champion(self.name)
        is_bad = bool(episode)
        self.store.record_monitoring(
            self.name,
            MonitoringRecord(
                id=name,
                at=seen_to,
                version=champion.version if champion else None,
                verdict=Verdict(
                    answer=Answer.YES if is_bad else Answer.NO, reasons=("accuracy fell",)
                ),
                causes=causes if is_bad else (),
                episode=episode,
                report=REPORT,
                numbers={},
                prediction_watermark=seen_to,
                label_watermark=seen_to,
                changed_at=changed_at,
            ),
        )
        return name


class World(Production):
    """The production of a small pipeline, and the decisions on it."""

    def __init__(self, made: Small) -> None:
        super().__init__(made.run().store)
        self.made = made

    def decide(self, run_id: str, subject: str, **given: str) -> Ref:
        """The step `decide`."""
        return loop.function("decide")(self.made.run(run_id), subject=subject, **given)
