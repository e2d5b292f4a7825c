"""The command line of a replay: one's own pipeline, one's own file, and what can be wrong."""

from __future__ import annotations

import json

import pytest

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError, DataError
from pipeline_tasks.replay import asking, own, streams
from pipeline_tasks.replay.asking import Question
from tests.small import csv_text
from tests.unit.test_command_line import command


def test_a_pipeline_is_replayed_from_its_own_source(small):
    made = small()
    made.csv.write_text(csv_text(rows=900))
    done = command(made, "replay", "small", "--policies", "never,triggered", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == 900
    assert set(found["policies"]) == {"never", "triggered"}
    assert found["policies"]["never"]["accuracy"] > 0.7


def test_a_table_and_files_for_a_person(small, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(csv_text(rows=900))
    out = tmp_path / "found"
    done = command(small(), "replay", str(path), "--policies", "never,weekly", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "own, weekly: 1" in done.stdout
    assert "accuracy" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["own.json", "own.png"]


def test_an_unknown_stream_is_a_message(small):
    done = command(small(), "replay", "nothing")
    assert done.returncode == 1
    assert "ConfigError: no stream is called 'nothing'" in done.stderr
    assert "a pipeline: small" in done.stderr


def test_rows_come_in_the_order_of_the_pipelines_time(small):
    made = small(split={"by": "time", "column": "width"})
    made.csv.write_text(csv_text(rows=900))
    found = own.stream(config.load(made.yaml), None)
    assert (found.inputs[1:, 0] >= found.inputs[:-1, 0]).all()
    assert found.inputs.shape == (900, 5)


def test_a_pipeline_is_replayed_under_its_own_rules(small):
    made = small(retraining={"maximum_age_days": 3}, promotion={"margin": 0.07})
    rules = own.rules(config.load(made.yaml), window=77)
    assert rules.retraining.maximum_age_days == 3
    assert (rules.promotion.margin, rules.window) == (0.07, 77)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question("sea", policies=("sometimes",)), "no policy is called 'sometimes'"),
        (Question("electricity"), "nothing says where the file is"),
        (Question("sea", block_rows=0), "--block-rows 0"),
        (Question("sea", window=1), "--window 1"),
    ],
)
def test_a_wrong_question_is_answered_with_what_is_expected(question, said):
    with pytest.raises(ConfigError, match=said):
        list(asking.answered(question))


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-1"])
def test_seeds_are_whole_numbers(text):
    with pytest.raises(ConfigError, match="--seeds"):
        streams.check_seeds(text)


@pytest.mark.parametrize(
    ("content", "label", "said"),
    [
        ("", None, "cannot be read as CSV"),
        ("a,b\n1,0\n2,1\n", None, "2 labelled rows are too few"),
        ("a,b\n1,0\n", "c", "there is no column 'c'"),
        ("a,b\n" + "1,0\n" * 900, None, "all rows have the same label"),
        ("a,b\n" + "".join(f"1,{n}\n" for n in range(900)), None, "900 different values"),
        ("b\n" + "0\n1\n" * 500, None, "no column has numbers or categories"),
    ],
)
def test_a_file_that_is_no_stream_is_refused(tmp_path, content, label, said):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        streams.of_csv(path, label=label)


def test_what_is_missing_is_the_first_rows_median(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n" + "1,x,0\n3,y,1\n,,0\n5,x,1\n" * 200)
    found = streams.of_csv(path)
    assert found.inputs[:4].tolist() == [[1, 1, 0], [3, 0, 1], [3, 0, 0], [5, 1, 0]]
