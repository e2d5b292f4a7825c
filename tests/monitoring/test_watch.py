"""collect > monitor > decide on a real champion and a log as a server writes it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from pipeline_tasks import loop, observations
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ArtifactError, DataError
from pipeline_tasks.core.values import Answer
from pipeline_tasks.learning import answering
from tests.small import csv_text, write_small

MONITORING = {"minimum_rows": 100, "quality_drop": 0.05}
RETRAINING = {"minimum_labelled": 200, "cooldown_minutes": 60}


class Production:
    """The small pipeline in production; `say` logs what a server would."""

    def __init__(self, folder, **changes):
        settings = {
            "evaluation": {"slices": ["colour", "width"]},
            "training": {"epochs": 20, "batch_size": 32, "learning_rate": 0.03, "patience": 0},
            "monitoring": MONITORING,
            "retraining": RETRAINING,
        }
        self.made = write_small(folder, **(settings | changes))
        self.made.steps("train")
        self.store = self.made.run().store
        self.folder = self.store.observations("small")
        exported = self.store.open(self.store.champion("small").exported)
        self._model = answering.exported(exported)[1]
        self._files = 0

    def say(
        self,
        rows: int,
        *,
        seed: int,
        shift: float = 0.0,
        scale: float = 1.0,
        wrong: float = 0.0,
        version: int = 1,
    ):
        """Log `rows` predictions, about as many wrong; returns their ids and true labels.

        Without `wrong` all are right: what matters is how the model answers.
        """
        random = np.random.default_rng(seed)
        lines = [line.split(",") for line in csv_text(rows, seed).splitlines()[1:]]
        inputs = [
            {
                "width": scale * float(width) + shift,
                "height": scale * float(height) if height else None,
                "colour": colour,
            }
            for width, height, colour, _ in lines
        ]
        answers = answering.shares_or_values(self._model, arrays(inputs))
        said = [
            {
                "id": f"{seed}-{index}",
                "time": clock.text(clock.now()),
                "version": version,
                "inputs": asked,
                "outputs": {"label": int(shares.argmax()), "probabilities": shares.tolist()},
                "latency_ms": 2.0,
            }
            for index, (asked, shares) in enumerate(zip(inputs, answers, strict=True))
        ]
        self._write("predictions", said)
        is_wrong = random.random(rows) < wrong
        return {
            one["id"]: one["outputs"]["label"] ^ int(other)
            for one, other in zip(said, is_wrong, strict=True)
        }

    def tell(self, truth):
        """Labels arrive."""
        now = clock.text(clock.now())
        found = [{"id": key, "time": now, "label": label} for key, label in truth.items()]
        self._write("labels", found)

    def look(self, run_id: str):
        """collect and monitor; returns the record."""
        run = self.made.run(run_id)
        window = loop.function("collect")(run)
        loop.function("monitor")(run, window=window)
        return self.store.monitoring("small")[-1]

    def report(self, record):
        """The look's report.json."""
        return json.loads((self.store.open(record.report) / "report.json").read_text())

    def decide(self, run_id: str, subject: str):
        """The decision's artifact reference."""
        return loop.function("decide")(self.made.run(run_id), subject=subject)

    def _write(self, kind, lines):
        self._files += 1
        path = self.folder / kind / clock.text(clock.now())[:10] / f"{self._files}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def arrays(inputs):
    """Columns as the model takes them."""
    height = [np.nan if one["height"] is None else one["height"] for one in inputs]
    return {
        "width": np.array([one["width"] for one in inputs], dtype=np.float32),
        "height": np.array(height, dtype=np.float32),
        "colour": np.array([one["colour"] for one in inputs]),
    }


@pytest.fixture
def production(tmp_path):
    return Production(tmp_path)


def causes(record):
    return set(record.causes)


def test_without_traffic_there_is_not_enough_data(production):
    record = production.look("first")
    assert record.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert production.store.undecided("small") is None


def test_good_answers_are_healthy_and_wrong_ones_degraded(production):
    production.tell(production.say(300, seed=10))
    assert "quality" not in causes(production.look("good"))
    production.tell(production.say(300, seed=11, wrong=0.4))
    record = production.look("bad")
    assert record.verdict.is_yes
    assert "quality" in causes(record)
    assert record.numbers["labelled"] == 300


def test_drift_is_noticed_without_any_label(production):
    production.say(300, seed=12, shift=2.0)
    once = production.look("drifted")
    assert once.verdict.answer is Answer.NO
    assert "once: width: drifted by" in "; ".join(once.verdict.reasons)
    production.say(300, seed=13, shift=2.0)
    record = production.look("drifted again")
    assert causes(record) == {"drift"}
    assert "in 2 of the last 2 windows" in record.verdict.reasons[0]
    assert record.numbers["largest_drift"] > 2
    assert record.numbers["drifted"] >= 2


def test_columns_that_the_champion_does_not_take_yet_are_not_compared(production):
    content = yaml.safe_load(production.made.yaml.read_text())
    content["columns"] |= {
        "depth": {"type": "number"},
        "scan": {"type": "image", "shape": [2, 2]},
        "height": {"type": "category", "nullable": True},
    }
    production.made.yaml.write_text(yaml.safe_dump(content, sort_keys=False))
    production.say(300, seed=13)
    record = production.look("changed")
    compared = {one["feature"] for one in production.report(record)["drift"]}
    assert compared == {"width", "colour", "answer", "confidence"}


def test_another_label_than_the_champion_answers_is_said_in_plain_words(production):
    content = yaml.safe_load(production.made.yaml.read_text())
    content["label"]["classes"] = [0, 1, 2]
    production.made.yaml.write_text(yaml.safe_dump(content, sort_keys=False))
    production.say(10, seed=14)
    with pytest.raises(DataError, match=r"(?s)with 2 probabilities a row.*run small__train"):
        production.look("changed")


def test_a_window_that_is_too_small_grows_until_it_is_judged(production):
    for seed in (20, 21, 22):
        production.tell(production.say(40, seed=seed))
        record = production.look(f"look {seed}")
    assert record.numbers["predictions"] == 120
    assert record.verdict.answer is not Answer.NOT_ENOUGH_DATA
    assert production.look("next").numbers["predictions"] == 0


def test_labels_may_come_late_twice_or_for_nothing(production):
    truth = production.say(200, seed=30)
    assert production.look("before the labels").numbers["labelled"] == 0
    production.tell(truth)
    production.tell(dict(list(truth.items())[:50]))
    production.tell({"nobody-0": 1})
    assert production.look("after them").numbers["labelled"] == 200
    assert production.look("later").numbers["labelled"] == 0


def test_of_conflicting_labels_the_later_one_counts(production):
    truth = production.say(300, seed=31)
    production.tell({key: 1 - label for key, label in truth.items()})
    production.tell(truth)
    assert "quality" not in causes(production.look("corrected"))


def test_answers_of_another_version_say_nothing_about_the_champion(production):
    production.tell(production.say(300, seed=32, wrong=0.5, version=7))
    record = production.look("other")
    assert record.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert record.numbers["predictions_of_other_versions"] == 300


def test_one_episode_lasts_until_a_healthy_look_and_is_retrained_once(production):
    ids = []
    for seed in (40, 41):
        production.tell(production.say(300, seed=seed, wrong=0.4, shift=3.0))
        ids.append(production.look(f"look {seed}"))
    assert ids[0].episode == ids[1].episode == "look 40"
    first = production.decide("decide 1", ids[0].id)
    assert first.summary["answer"] == "yes"
    assert first.summary["episode"] == "look 40"
    again = production.decide("decide 2", ids[1].id)
    assert again.summary["answer"] == "no"
    assert "has had its retraining" in str(again.summary["reasons"])
    assert production.store.undecided("small") is None


def test_a_decision_that_is_retried_is_recorded_once(production):
    production.tell(production.say(300, seed=42, wrong=0.4))
    record = production.look("look")
    for _ in range(2):
        assert production.decide("same run", record.id).summary["answer"] == "yes"
    assert [one.event for one in production.store.history("small")].count("retraining") == 1


def test_an_alarm_without_labels_waits_for_them(production):
    for seed in (43, 47):
        production.say(300, seed=seed, shift=3.0)
        record = production.look(f"look {seed}")
    assert production.store.undecided("small") == record
    decision = production.decide("decide", record.id)
    assert decision.summary["answer"] == "not_enough_data"
    assert "0 of 200" in str(decision.summary["reasons"])


def test_a_decision_on_nothing_says_what_to_run(production):
    with pytest.raises(ArtifactError, match="small__monitor"):
        production.decide("decide", "nothing")


def test_an_episode_ends_where_a_new_champion_begins(production):
    production.tell(production.say(600, seed=44, wrong=0.4, shift=3.0))
    production.look("look")
    champion = production.store.champion("small")
    production.store.set_champion(
        "small", replace_champion(champion, version=2, promoted_at=clock.text(clock.now()))
    )
    production.tell(production.say(300, seed=45, wrong=0.4, shift=3.0, version=2))
    assert production.look("after").episode == "after"


def replace_champion(champion, **changes):
    return champion.model_copy(update=changes)


def test_quality_has_an_interval_and_slices_and_is_estimated_without_labels(production):
    truth = production.say(400, seed=50, wrong=0.1)
    production.tell(truth)
    record = production.look("look")
    numbers, report = record.numbers, production.report(record)
    for name in ("quality", "estimated"):
        assert numbers[f"{name}_low"] < numbers[name] < numbers[f"{name}_high"], name
    assert report["quality"]["value"] == numbers["quality"] == pytest.approx(0.9, abs=0.05)
    slices = {(one["column"], one["part"]): one for one in report["slices"]}
    assert {part for column, part in slices if column == "colour"} == {"red", "green", "blue"}
    assert sum(one["rows"] for (column, _), one in slices.items() if column == "width") == 400
    assert slices["colour", "red"]["low"] < slices["colour", "red"]["value"]
    assert report["estimated"]["rows"] == 400
    hint = record.verdict.reasons[-1]
    assert hint.startswith("beside: accuracy estimated without labels")


def test_doubt_of_the_model_itself_is_no_reason_to_act(production):
    production.say(300, seed=51, scale=0.2)
    record = production.look("look")
    assert record.verdict.answer is Answer.NO
    assert record.numbers["estimated"] < production.report(record)["estimated"]["expected"] - 0.05


def test_charts_of_errors_go_on_from_look_to_look(tmp_path):
    production = Production(tmp_path, split={"validation": 0.3, "test": 0.3})
    for seed in range(60, 65):
        production.tell(production.say(100, seed=seed, wrong=0.8))
        record = production.look(f"look {seed}")
    charts = production.report(record)["charts"]
    assert record.changed_at == production.store.champion("small").promoted_at, "wrong at once"
    assert causes(record) == {"quality"}
    assert charts["state"]["rows"] == 500
    assert [(one["name"], one["is_alarm"]) for one in charts["said"]] == [
        ("EWMA", True),
        ("ADWIN", True),
    ]
    reasons = "; ".join(record.verdict.reasons)
    assert "on an EWMA chart of 500 labelled rows" in reasons
    assert "by chance once in 12,000 rows at most" in reasons
    assert "has risen by ADWIN" in reasons
    production.tell(production.say(40, seed=65))
    waiting = production.look("too few to be judged")
    assert production.report(waiting)["charts"]["said"] == []
    production.tell(production.say(70, seed=66))
    assert production.report(production.look("enough"))["charts"]["state"]["rows"] == 610


def test_the_charts_say_when_production_changed_and_a_healthy_look_does_not(tmp_path):
    production = Production(tmp_path, split={"validation": 0.3, "test": 0.3})
    production.tell(production.say(300, seed=67))
    healthy = production.look("healthy")
    production.tell(production.say(100, seed=68))
    production.tell(production.say(300, seed=69, wrong=0.8))
    record = production.look("changed within the look")
    assert healthy.changed_at == ""
    newer = observations.count_labelled(production.folder, since=record.changed_at)
    assert abs(newer - 300) <= 48, "four blocks of the chart"
    production.tell(production.say(300, seed=73, wrong=0.8))
    assert production.look("the next").changed_at == record.changed_at


def test_a_look_that_is_retried_says_the_same(production):
    for seed in (70, 71):
        production.tell(production.say(200, seed=seed, shift=2.0, wrong=0.1))
        first, again = (production.look(f"look {seed}") for _ in range(2))
        assert first.verdict == again.verdict
        assert first.numbers == again.numbers
        assert production.report(first)["charts"] == production.report(again)["charts"]
    assert production.report(again)["charts"]["state"]["rows"] == 400
    assert len(production.store.monitoring("small")) == 2


def test_every_row_is_counted_even_where_arrays_are_a_sample(production, monkeypatch):
    from pipeline_tasks.steps import collect

    monkeypatch.setattr(collect, "MAXIMUM_ROWS", 100)
    production.say(500, seed=72)
    run = production.made.run("look")
    window = run.open(loop.function("collect")(run))
    counted = json.loads((window / "counts.json").read_text())
    assert counted["rows"] == 500
    assert sum(counted["counts"]["colour"]) == 500


def test_too_short_a_reference_is_said_and_the_rest_is_watched(tmp_path):
    production = Production(tmp_path, split={"validation": 0.1, "test": 0.1})
    truth = production.say(300, seed=80)
    silent = production.look("no labels")
    assert silent.verdict.answer is Answer.NOT_ENOUGH_DATA
    assert "a reference needs 100 rows" in silent.verdict.reasons[0]
    production.tell(truth)
    assert production.look("labels").verdict.answer is Answer.NO
    production.tell(production.say(300, seed=81, wrong=0.4))
    assert causes(production.look("wrong")) == {"quality"}


def test_the_watch_imports_no_tensorflow(production, tmp_path):
    import subprocess
    import sys

    from tests.server import PROJECT, environment

    production.tell(production.say(300, seed=46))
    code = (
        "import sys; from pathlib import Path; from tests.small import Small; "
        "from pipeline_tasks import loop; folder = Path(sys.argv[1]); "
        "run = Small(folder, folder / 'rows.csv', folder / 'small.yaml').run('apart'); "
        "loop.function('monitor')(run, window=loop.function('collect')(run)); "
        "assert not {'tensorflow', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, check=True, cwd=PROJECT, env=environment())
