"""Labels as collect sees them: late, twice, for nothing, corrected, from a file or a table."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml

from pipeline_tasks import config, loop, observations
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.data import rows
from pipeline_tasks.sections import logged
from pipeline_tasks.sections.logged import Logged
from pipeline_tasks.serving.observed.prediction_log import new_id
from pipeline_tasks.steps import collect
from tests.small import Small, csv_text, write_small


class Told:
    """The small pipeline with a champion, and a log as a server writes it."""

    def __init__(self, made: Small) -> None:
        self.made = made
        self.store = made.run().store
        self.folder = self.store.observations("small")
        self._files = 0

    def ask(self, count: int, **changes: object) -> list[str]:
        """Log predictions; returns their ids."""
        lines = []
        for row in csv_text(count).splitlines()[1:]:
            width, height, colour, _ = row.split(",")
            inputs = {"width": float(width), "height": float(height or 0), "colour": colour}
            lines.append(
                {
                    "id": f"{new_id()}-0",
                    "time": clock.text(clock.now()),
                    "version": 1,
                    "inputs": inputs,
                    "outputs": {"label": 1, "probabilities": [0.25, 0.75]},
                    "latency_ms": 1.0,
                }
                | changes
            )
        self._write("predictions", lines)
        return [str(line["id"]) for line in lines]

    def tell(self, labels: dict[str, object]) -> None:
        now = clock.text(clock.now())
        self._write("labels", [{"id": k, "time": now, "label": v} for k, v in labels.items()])

    def collect(self, run_id: str) -> dict[str, object]:
        """collect and monitor; returns what collect found."""
        run = self.made.run(run_id)
        window = loop.function("collect")(run)
        loop.function("monitor")(run, window=window)
        return window.summary

    def _write(self, kind: str, lines: list[dict[str, object]]) -> None:
        self._files += 1
        path = self.folder / kind / clock.text(clock.now())[:10] / f"{self._files}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One champion, and all it was made of."""
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 0.03, "patience": 0}
    made = write_small(
        tmp_path_factory.mktemp("champion"), training=training, monitoring={"minimum_rows": 20}
    )
    made.steps("train")
    return made


@pytest.fixture
def champion(trained, tmp_path):
    """A copy of it, with a section `observation` in its file."""
    shutil.copytree(trained.folder, tmp_path, dirs_exist_ok=True)

    def make(observation: dict[str, object], **changes: object) -> Told:
        content = yaml.safe_load(trained.yaml.read_text()) | {"observation": observation} | changes
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return Told(Small(tmp_path, tmp_path / "rows.csv", tmp_path / "small.yaml"))

    return make


@pytest.fixture
def told(champion):
    return champion({})


def picked(facts, *names):
    return tuple(facts[f"labels_{name}"] for name in names)


def test_late_repeated_corrected_and_orphaned_labels_are_counted(told):
    ids = told.ask(40)
    told.tell(dict.fromkeys(ids[:20], 1) | {"nobody-0": 1, f"{new_id()}-0": 1})
    facts = told.collect("first")
    assert picked(facts, "arrived", "orphaned", "late", "duplicate", "corrected") == (
        22,
        2,
        0,
        0,
        0,
    )
    assert (facts["labelled"], facts["label_completeness"]) == (20, 0.5)
    told.tell(dict.fromkeys(ids[20:], 0) | dict.fromkeys(ids[:5], 1) | dict.fromkeys(ids[5:9], 0))
    facts = told.collect("second")
    assert picked(facts, "arrived", "orphaned", "duplicate", "corrected") == (29, 0, 5, 4)
    assert picked(facts, "late") == (24,)
    assert (facts["labelled"], facts["labelled_first"]) == (24, 20)
    assert facts["label_completeness"] == 1.0


def test_labels_of_another_version_say_nothing_about_the_champion(told):
    others = told.ask(30, version=7)
    told.tell(dict.fromkeys(others, 1))
    facts = told.collect("look")
    assert picked(facts, "arrived", "orphaned", "of_other_versions") == (30, 0, 30)
    assert facts["labelled"] == 0


def test_a_sample_is_counted_as_what_it_stands_for_and_its_labels_are_no_orphans(champion):
    told = champion({"share": 0.25})
    told.ask(30, share=0.25)
    left_out = [one for one in (new_id() for _ in range(40)) if not Logged(share=0.25).has(one)]
    told.tell({f"{one}-0": 1 for one in left_out})
    facts = told.collect("look")
    assert (facts["predictions"], facts["answered"]) == (30, 120)
    assert picked(facts, "unsampled", "orphaned") == (len(left_out), 0)


def test_a_window_of_very_many_rows_is_a_uniform_sample_of_them(told, monkeypatch):
    monkeypatch.setattr(collect, "MAXIMUM_ROWS", 50)
    told.ask(400)
    run = told.made.run("look")
    window = loop.function("collect")(run)
    arrays = rows.read_arrays(run.open(window) / "window.npz")
    assert window.summary["predictions"] == 400
    assert {len(values) for values in arrays.values()} == {50}
    asked = [float(line.split(",")[0]) for line in csv_text(400).splitlines()[1:]]
    places = [asked.index(round(width, 4)) for width in arrays["width"].tolist()]
    assert len(set(places)) == 50
    assert min(places) < 100
    assert max(places) > 300


def test_collecting_makes_parquet_of_closed_segments_and_tells_servers_what_to_log(told):
    told.ask(40)
    folder = told.store.root / "small" / "archive"
    assert Logged.model_validate_json((folder / logged.FILE).read_text()) == Logged()
    content = yaml.safe_load(told.made.yaml.read_text()) | {"observation": {"share": 0.5}}
    told.made.yaml.write_text(yaml.safe_dump(content, sort_keys=False))
    assert told.collect("look")["predictions"] == 40
    assert logged.read(folder) == Logged(share=0.5)
    assert not list(told.folder.glob("predictions/*/*.jsonl"))
    assert len(list(observations.predictions(told.folder))) == 40


def test_a_column_that_is_left_out_is_neither_logged_nor_watched(champion):
    told = champion({"leave_out": ["colour"]}, retraining={"maximum_observations": 0})
    told.tell(dict.fromkeys(told.ask(60, inputs={"width": 0.5, "height": 1.0}), 1))
    facts = told.collect("look")
    assert (facts["predictions"], facts["labelled"]) == (60, 60)
    rules = logged.read(told.store.root / "small" / "archive")
    assert rules == Logged(columns=("width", "height"))
    report = told.store.monitoring("small")[-1]
    assert "colour" not in "; ".join(report.verdict.reasons)
    assert told.made.steps("last", until="ingest")["ingest"].summary["observations"] == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"observation": {"leave_out": ["color"]}}, "'color' must be an input among the columns"),
        ({"observation": {"leave_out": ["colour"]}}, "maximum_observations: 0"),
        ({"observation": {"share": 2}}, "less than or equal to 1"),
        ({"observation": {"labels": {"source": {"kind": "nothing"}}}}, "no sources part"),
        ({"observation": {"labels": {"source": {"kind": "csv"}}}}, "this key is required"),
    ],
)
def test_what_cannot_be_is_refused_when_the_file_is_read(small, changes, told):
    with pytest.raises(ConfigError, match=told):
        config.load(small(**changes).yaml)


def labels_in(path: Path, **more: object) -> dict[str, object]:
    source = {"kind": "csv", "path": str(path)}
    return {"labels": {"source": source, "id": "prediction", "label": "truth"} | more}


def write_csv(path: Path, *rows: tuple[object, ...], header: str = "prediction,truth") -> None:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def source_facts(facts):
    return tuple(facts[f"label_source_{name}"] for name in ("rows", "new", "conflicting"))


def test_labels_of_a_file_are_taken_once_and_what_is_added_to_it_later(tmp_path, champion):
    path = tmp_path / "labels.csv"
    told = champion(labels_in(path, time="at"))
    ids = told.ask(40)
    at = "2026-03-05T13:00:00"
    first: list[tuple[object, ...]] = [(one, 1, at) for one in ids[:30]]
    write_csv(path, *first, *first[:3], header="prediction,truth,at")
    assert source_facts(facts := told.collect("first")) == (33, 30, 0)
    assert (facts["labelled"], facts["labels_duplicate"]) == (30, 0)
    assert source_facts(told.collect("same")) == (0, 0, 0)
    later = (ids[0], 0, "2026-03-05T15:00:00+01:00")
    write_csv(
        path, later, *first, *[(one, 0, "") for one in ids[30:]], header="prediction,truth,at"
    )
    assert source_facts(facts := told.collect("longer")) == (41, 11, 1)
    assert facts["labels_corrected"] == 1
    history = observations.label_history(told.folder)[ids[0]]
    assert [(one.label, one.observed_at) for one in history] == [
        (1, "2026-03-05T13:00:00.000Z"),
        (0, "2026-03-05T14:00:00.000Z"),
    ]


def test_the_same_file_under_another_name_does_not_undo_a_correction(tmp_path, champion):
    path = tmp_path / "labels.csv"
    told = champion(labels_in(path))
    ids = told.ask(30)
    write_csv(path, *((one, 1) for one in ids))
    told.collect("first")
    told.tell({ids[0]: 0})
    write_csv(path, *((one, 1) for one in reversed(ids)))
    assert source_facts(told.collect("again")) == (30, 0, 0)
    assert observations.labels(told.folder)[ids[0]].label == 0


def test_labels_of_a_table_are_taken_from_its_watermark_on(tmp_path, champion):
    path = tmp_path / "labels.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("create table truths (number integer, prediction text, kind integer)")
    source = {"kind": "sql", "url": f"sqlite:///{path}", "table": "truths", "watermark": "number"}
    told = champion({"labels": {"source": source, "id": "prediction"}})
    ids = told.ask(40)
    assert source_facts(told.collect("empty")) == (0, 0, 0)
    for start, stop, run in ((0, 30, "first"), (30, 40, "second"), (40, 40, "nothing")):
        with sqlite3.connect(path) as database:
            for number in range(start, stop):
                database.execute("insert into truths values (?, ?, 1)", (number, ids[number]))
        assert source_facts(told.collect(run)) == (stop - start, stop - start, 0)
    database.close()
    assert len(observations.labels(told.folder)) == 40


BAD_ROWS = {
    "an unknown class": (("a-0", 1), ("b-0", 7), "line 3, column truth: 7, expected one of [0, 1]"),
    "no label": (("a-0", ""), ("b-0", 1), "line 2, column truth: None, expected one of"),
    "no number": (("a-0", 1), ("b-0", "yes"), "line 3, column truth: 'yes'"),
    "no id": (("a-0", 1), ("", 1), "line 3, column prediction: None, expected a prediction's id"),
    "a path": (("a/0", 1), ("b-0", 1), "line 2, column prediction: 'a/0'"),
}


@pytest.mark.parametrize(("first", "second", "problem"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_rows_are_named_and_none_of_the_file_is_taken(
    tmp_path, first, second, problem, champion
):
    path = tmp_path / "labels.csv"
    told = champion(labels_in(path))
    told.ask(20)
    write_csv(path, first, second)
    facts = told.collect("look")
    assert "labels.csv" in facts["label_source_error"]
    assert problem in facts["label_source_error"]
    assert not observations.labels(told.folder)
    assert facts["predictions"] == 20
    write_csv(path, ("a-0", 1))
    assert source_facts(told.collect("mended")) == (1, 1, 0)


def test_a_time_that_is_none_and_a_missing_file_are_told_and_watching_goes_on(tmp_path, champion):
    told = champion(labels_in(tmp_path / "labels.csv", time="at"))
    assert "there is no such file" in told.collect("missing")["label_source_error"]
    write_csv(tmp_path / "labels.csv", ("a-0", 1, "noon"), header="prediction,truth,at")
    error = told.collect("wrong")["label_source_error"]
    assert "line 2, column at: 'noon', expected a moment in ISO 8601" in error
