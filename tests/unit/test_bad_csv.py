"""A broken file stops the run at `check`, names the place, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.store import verify_folder
from tests.small import Small

LINE_8 = 8


def stopped(small: Small) -> str:
    """Ingest takes the file as it is; check refuses it. Returns the message."""
    small.steps(until="ingest")
    with pytest.raises(DataError) as caught:
        small.steps(until="check")
    runs = small.folder / "store" / "small" / "runs" / "run"
    left = {path.name for path in runs.iterdir()}
    assert {"raw"} <= left <= {"raw", "failures"}
    for name in left:
        verify_folder(runs / name)
    assert not caught.value.is_retryable
    return str(caught.value)


def edit(small: Small, line: int, change: Callable[[str], str]) -> None:
    lines = small.csv.read_text().splitlines()
    lines[line - 1] = change(lines[line - 1])
    small.csv.write_text("\n".join(lines) + "\n")


def test_a_missing_column_is_named(small):
    made = small()
    text = made.csv.read_text().replace("width,height", "width,hight", 1)
    made.csv.write_text(text)
    message = stopped(made)
    assert "rows.csv line 1: no column height" in message
    assert "width, hight, colour, kind" in message


def test_text_in_a_numeric_column_is_named_with_line_column_and_value(small):
    made = small()
    edit(made, LINE_8, lambda line: "wide" + line[line.index(",") :])
    message = stopped(made)
    assert "rows.csv line 8, column width: 'wide'" in message
    assert "a number" in message


def test_a_file_cut_in_the_middle_of_a_row_is_refused(small):
    made = small()
    text = made.csv.read_text()
    made.csv.write_text(text[: text.rstrip().rindex(",") - 3])
    message = stopped(made)
    assert "rows.csv line 401: the last line ends after 3 of 4 fields" in message


@pytest.mark.parametrize("content", ["", "\n", "width,height,colour,kind\n"])
def test_an_empty_file_is_refused(small, content):
    made = small()
    made.csv.write_text(content)
    assert "the file is empty" in stopped(made)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(small):
    made = small()
    lines = made.csv.read_bytes().splitlines()
    lines[LINE_8 - 1] = b"0.5,0.5,gr\xfcn,1"
    made.csv.write_bytes(b"\n".join(lines) + b"\n")
    message = stopped(made)
    assert "rows.csv line 8: not UTF-8 at byte 11" in message
    assert "xfc" in message


def test_a_label_with_one_class_only_is_refused(small):
    made = small()
    lines = made.csv.read_text().splitlines()
    made.csv.write_text("\n".join([lines[0], *(line[:-1] + "1" for line in lines[1:])]) + "\n")
    message = stopped(made)
    assert "label column kind" in message
    assert "at least two of the classes [0, 1]" in message


def test_every_value_that_breaks_the_schema_is_listed_with_its_rule(small):
    made = small()
    edit(made, LINE_8, lambda line: "99.5" + line[line.index(",") :])
    edit(made, 9, lambda line: line.rsplit(",", 2)[0] + ",purple,1")
    edit(made, 10, lambda line: line[:-1] + "7")
    message = stopped(made)
    assert "3 values break the declared schema" in message
    assert "line 8, column width: 99.5, expected at most 10" in message
    assert "line 9, column colour: 'purple', expected one of ['red', 'green', 'blue']" in message
    assert "line 10, column kind: 7.0, expected one of [0, 1]" in message


def test_a_missing_value_is_refused_where_the_column_is_not_nullable(small):
    made = small()
    edit(made, LINE_8, lambda line: line[line.index(",") :])
    assert "line 8, column width: nan, expected a value" in stopped(made)


def test_a_line_with_too_many_fields_is_refused(small):
    made = small()
    edit(made, LINE_8, lambda line: line + ",1,2")
    message = stopped(made)
    assert "line 8" in message
    assert "4 fields in every line" in message


def test_reordered_and_added_columns_are_no_error(small):
    made = small()
    lines = [line.split(",") for line in made.csv.read_text().splitlines()]
    made.csv.write_text("\n".join(",".join([*reversed(line), "x"]) for line in lines) + "\n")
    assert made.steps(until="check")["check"].summary["rows"] == 400


def test_a_missing_file_is_named(small):
    made = small()
    made.csv.unlink()
    with pytest.raises(DataError, match=r"rows\.csv: there is no such file"):
        made.steps(until="ingest")


def test_an_environment_variable_in_the_path_is_filled_in(small, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("WHERE_ROWS_ARE", str(tmp_path))
    made = small(source={"kind": "csv", "path": "${WHERE_ROWS_ARE}/rows.csv"})
    assert made.steps(until="check")["check"].summary["rows"] == 400
