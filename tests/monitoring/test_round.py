"""Round the loop with other labels and metrics than classes and accuracy, behind a real server."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml

from pipeline_tasks import config, loop, observations
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Answer
from pipeline_tasks.data import rows as rows_of
from pipeline_tasks.run import Run
from pipeline_tasks.sections.settings import Label
from pipeline_tasks.serving.client import Client
from tests.server import Server

ROWS = 600
MONITORING = {"minimum_rows": 100}
RETRAINING = {"minimum_labelled": 200, "cooldown_minutes": 0}
SHARED = {"monitoring": MONITORING, "retraining": RETRAINING, "deployment": {"bake_minutes": 0.02}}
COLUMNS = {"width": {"type": "number"}, "height": {"type": "number", "nullable": True}}
LOGISTIC = {
    "columns": COLUMNS,
    "label": {"name": "kind", "classes": ["no", "yes"]},
    "model": {"kind": "logistic_regression"},
    "training": {"epochs": 20, "batch_size": 64, "learning_rate": 0.05},
}
PIPELINES = {
    "rmse": {
        "columns": COLUMNS,
        "label": {"name": "y", "type": "number"},
        "model": {"kind": "linear_regression"},
    },
    **{
        metric: LOGISTIC | {"metrics": ["accuracy", metric], "promotion": {"metric": metric}}
        for metric in ("log_loss", "roc_auc")
    },
}


def rows(seed: int, *, is_turned: bool = False) -> tuple[list[dict], np.ndarray]:
    """What a client sends, and the truth; turned, the same inputs mean the contrary."""
    random = np.random.default_rng(seed)
    width, height = random.normal(size=(2, ROWS)).round(4)
    y = (1000 * width - 500 * height + random.normal(scale=50, size=ROWS)).round(3)
    sent = [
        {"width": float(w), "height": None if index % 10 == 0 else float(h)}
        for index, (w, h) in enumerate(zip(width, height, strict=True))
    ]
    return sent, -y if is_turned else y


def truth_of(name: str, y: float) -> float | str:
    if name == "rmse":
        return float(y)
    return "yes" if y > 0 else "no"


class Production:
    """One pipeline behind the server."""

    def __init__(self, name: str, server: Server, folder) -> None:
        self.name, self.server, self.folder = name, server, folder
        sent, y = rows(1)
        label = "y" if name == "rmse" else "kind"
        lines = [
            f"{row['width']},{'' if row['height'] is None else row['height']},{truth_of(name, one)}"
            for row, one in zip(sent, y, strict=True)
        ]
        path = folder / f"{name}.csv"
        path.write_text("\n".join([f"width,height,{label}", *lines]) + "\n")
        content = {"source": {"kind": "csv", "path": str(path)}} | PIPELINES[name] | SHARED
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def run(self, run_id: str) -> Run:
        return Run(
            config=config.load(self.folder / f"{self.name}.yaml"),
            id=run_id,
            store=Store(self.server.store),
            models=self.server.models,
            server=self.server.url,
        )

    def ask(self, seed: int, *, is_turned: bool = False) -> None:
        """Traffic, and its labels over REST."""
        sent, y = rows(seed, is_turned=is_turned)
        folder = Store(self.server.store).observations(self.name)
        before = len(list(observations.predictions(folder)))
        asked = [{k: float("nan") if v is None else v for k, v in row.items()} for row in sent]
        with Client(self.server.url) as client:
            _, _, identity = client.predict(self.name, asked)
        labels = [
            {"id": f"{identity}-{row}", "label": truth_of(self.name, one)}
            for row, one in enumerate(y)
        ]
        reply = self.server.post(f"/v1/models/{self.name}:label", {"labels": labels})
        assert reply.status_code == 200, reply.text
        self.server.wait(lambda: len(list(observations.predictions(folder))) == before + ROWS)

    def look(self, run_id: str):
        run = self.run(run_id)
        loop.function("monitor")(run, window=loop.function("collect")(run))
        return run.store.monitoring(self.name)[-1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("round")).start()
    yield started
    started.kill()


@pytest.mark.parametrize("name", list(PIPELINES))
def test_round_the_loop(name, server, tmp_path):
    made = Production(name, server, tmp_path)
    assert list(loop.run_steps(made.run("first")))[-1][0] == "bake"

    for wrong in (True, None, [1], {"a": 1}):
        content = {"labels": [{"id": "abc-0", "label": wrong}]}
        reply = server.post(f"/v1/models/{name}:label", content)
        assert reply.status_code == 400
        assert "label must be text or a number" in reply.text

    made.ask(2)
    healthy = made.look("healthy")
    assert healthy.verdict.answer is Answer.NO, healthy.verdict.reasons
    assert healthy.numbers["labelled"] == ROWS

    made.ask(3, is_turned=True)
    degraded = made.look("degraded")
    assert degraded.causes == ("quality",), degraded.verdict.reasons
    assert degraded.verdict.reasons[0].startswith(f"{name} ")
    direction = "lower" if name == "roc_auc" else "higher"
    assert f"{direction} (alarm at" in degraded.verdict.reasons[0]

    decision = loop.function("decide")(made.run("decide"), subject=degraded.id)
    assert decision.summary["answer"] == "yes", decision.summary

    made.ask(4, is_turned=True)
    left = dict(loop.run_steps(made.run("second")))
    # Two in five of the 1,200 rows since the change, which is placed a little before it.
    told = re.search(r"on the same (\d+) latest labelled rows", left["gate"].summary["reasons"])
    assert 480 <= int(told[1]) <= 500
    assert left["deploy"].summary["version"] == 2
    made.ask(5, is_turned=True)
    mended = made.look("mended")
    assert mended.version == 2
    assert "quality" not in mended.causes, mended.verdict.reasons


def test_a_truth_that_no_model_of_the_label_answers_is_left_out():
    number, classes = Label(name="y", type="number"), Label(name="y", classes=["no", "yes"])
    for known, wrong in ((number, ("abc", float("nan"))), (classes, ("maybe", 1, 0.5))):
        assert not any(map(known.knows, wrong))
    assert number.knows(1)
    assert number.knows(0.5)
    assert classes.knows("yes")


def test_labels_that_are_no_numbers_do_not_stop_the_training_of_a_number(server, tmp_path):
    made = Production("rmse", server, tmp_path)
    text = observations.TrueLabel("x-0", "2026-01-01T00:00:00Z", "abc")
    asked = observations.Prediction("x-0", text.time, 1, {"width": 1.0}, {"value": 1.0}, 1.0)
    found = [observations.Observation(asked, one) for one in (text, text._replace(label=2))]
    frame = rows_of.from_observations(found, made.run("with text").config)
    assert str(frame["y"].dtype) == "float64"
    assert frame["y"].isna().tolist() == [True, False]
