"""Check: every failure listed, rows put aside with their reasons, columns that come and go."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from pipeline_tasks.core.errors import ConfigError, DataError
from pipeline_tasks.core.store import read_json
from tests.small import Small

COLUMNS = {
    "width": {"type": "number", "min": -10, "max": 10},
    "height": {"type": "number", "nullable": True},
    "colour": {"type": "category", "values": ["red", "green", "blue"]},
}


def columns(**changes: dict) -> dict:
    return {name: rules | changes.get(name, {}) for name, rules in COLUMNS.items()}


def edit(made: Small, first: int, last: int, field: int, value: str) -> None:
    """Write `value` into one field of the file's lines first to last (from 1)."""
    lines = made.csv.read_text().splitlines()
    for number in range(first - 1, last):
        fields = lines[number].split(",")
        fields[field] = value
        lines[number] = ",".join(fields)
    made.csv.write_text("\n".join(lines) + "\n")


def test_more_failures_than_the_message_shows_are_all_in_a_file(small):
    made = small()
    edit(made, 11, 60, 0, "77")
    with pytest.raises(DataError, match=r"(?s)50 values break .* and 30 more") as caught:
        made.steps(until="check")
    folder = made.folder / "store" / "small" / "runs" / "run" / "failures"
    assert str(folder / "failures.csv") in str(caught.value)
    table = pd.read_csv(folder / "failures.csv")
    assert list(table["row"]) == list(range(9, 59))
    assert set(table["column"]) == {"width"}
    assert set(table["value"]) == {77.0}
    assert set(table["expected"]) == {"at most 10"}
    assert table["place"][0].endswith("rows.csv line 11")


def test_after_the_file_is_mended_the_same_run_passes(small):
    made = small()
    good = made.csv.read_text()
    edit(made, 11, 11, 0, "77")
    with pytest.raises(DataError):
        made.steps(until="check")
    made.csv.write_text(good)
    assert made.steps(until="check")["check"].artifact == "checked"


def test_rows_put_aside_are_kept_with_their_reasons_and_counted(small):
    made = small(columns=columns(width={"on_failure": "quarantine"}))
    edit(made, 11, 13, 0, "77")
    left = made.steps(until="prepare")
    assert left["check"].summary["quarantined"] == 3
    assert left["check"].summary["rows"] == 397
    folder = made.run().open(left["check"])
    aside = pd.read_parquet(folder / "quarantine.parquet")
    assert list(aside.index) == [9, 10, 11]
    assert list(aside["width"]) == [77.0] * 3
    assert set(aside["_reasons"]) == {"column width: expected at most 10"}
    assert aside["_place"][9].endswith("line 11")
    assert list(pd.read_csv(folder / "failures.csv")["action"]) == ["quarantine"] * 3
    kept = pd.read_parquet(folder / "rows.parquet")
    assert len(kept) == 397
    assert kept["width"].max() <= 10
    total = sum(left["prepare"].summary[name] for name in ("train", "validation", "test"))
    assert total + left["prepare"].summary["duplicates_dropped"] == 397


def test_a_row_that_also_breaks_a_rule_that_must_hold_stops_the_run(small):
    made = small(columns=columns(width={"on_failure": "quarantine"}))
    edit(made, 11, 13, 0, "77")
    edit(made, 12, 12, 2, "pink")
    with pytest.raises(DataError, match="'pink', expected one of"):
        made.steps(until="check")


def test_too_large_a_quarantine_stops_the_run(small):
    made = small(
        columns=columns(width={"on_failure": "quarantine"}),
        preparation={"quarantine_limit": 0.05},
    )
    edit(made, 11, 31, 0, "77")
    with pytest.raises(
        DataError, match=r"21 of 400 rows would be put aside, 5\.2%.*limit is 5\.0%"
    ):
        made.steps(until="check")


def test_values_that_must_be_unique_are_named_wherever_they_come_again(small):
    made = small(columns=columns(width={"unique": True}))
    width = made.csv.read_text().splitlines()[6].split(",")[0]
    edit(made, 300, 300, 0, width)
    with pytest.raises(DataError, match="expected a value that no other row has") as caught:
        made.steps(until="check")
    assert "line 7, column width" in str(caught.value)
    assert "line 300, column width" in str(caught.value)


def test_a_share_of_missing_values_may_be_bounded(small):
    assert small(columns=columns(height={"null_rate": 0.1})).steps(until="check")
    made = small(columns=columns(height={"null_rate": 0.05}))
    with pytest.raises(DataError, match=r"column height: 10\.00% of .* no value, expected 5\.00%"):
        made.steps("again", until="check")


def test_text_may_have_to_match_a_pattern(small):
    made = small(columns=columns(colour={"pattern": "[a-z]+", "values": None}))
    edit(made, 11, 11, 2, "Red1")
    with pytest.raises(DataError, match=r"line 11, column colour: 'Red1', expected a match of"):
        made.steps(until="check")


def test_a_date_must_be_one(small):
    made = small(columns=columns(colour={"type": "date", "values": None}))
    edit(made, 2, 401, 2, "2026-01-31")
    assert made.steps(until="check")
    edit(made, 11, 11, 2, "31.1.2026")
    with pytest.raises(DataError, match=r"line 11, column colour: '31\.1\.2026', expected a date"):
        made.steps("again", until="check")


def test_an_added_column_is_told_and_does_no_harm(small, caplog):
    made = small()
    lines = made.csv.read_text().splitlines()
    made.csv.write_text("\n".join([lines[0] + ",extra", *(line + ",1" for line in lines[1:])]))
    left = made.steps(until="check")
    assert left["check"].summary["undeclared_columns"] == "extra"
    assert "not declared: extra" in caplog.text
    assert "extra" not in pd.read_parquet(made.run().open(left["check"]) / "rows.parquet")


def test_a_column_that_became_text_in_a_typed_source_stops_the_run(small):
    from pipeline_tasks.data import schema

    config = small().run().config
    frame = pd.DataFrame({"width": ["a"], "height": [1.0], "colour": ["red"], "kind": [0.0]})
    with pytest.raises(DataError, match="column width holds str values such as 'a'"):
        schema.check_columns(frame, config)
    with pytest.raises(DataError, match="no column height"):
        schema.check_columns(frame.drop(columns="height").assign(width=1.0), config)
    frame = frame.assign(width=1.0, more=2)[["kind", "more", "colour", "height", "width"]]
    assert schema.check_columns(frame, config) == ["more"]


def test_statistics_of_every_column_are_kept(small):
    made = small()
    left = made.steps(until="check")
    found = read_json(made.run().open(left["check"]) / "statistics.json")
    frame = pd.read_csv(made.csv)
    assert found["height"]["missing"] == 40
    assert found["height"]["mean"] == pytest.approx(frame["height"].mean())
    assert found["height"]["variance"] == pytest.approx(frame["height"].var(ddof=0))
    assert found["width"]["min"] == frame["width"].min()
    assert found["width"]["quantiles"]["0.5"] == pytest.approx(frame["width"].median(), abs=0.05)
    assert found["colour"]["top"] == frame["colour"].value_counts().to_dict()
    assert found["kind"]["top"] == {str(k): v for k, v in frame["kind"].value_counts().items()}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"width": {"pattern": "a"}}, "a column of type number has no `pattern`"),
        ({"width": {"missing": "constant"}}, "needs `fill"),
        ({"colour": {"missing": "median"}}, "only numbers have a median"),
        ({"colour": {"pattern": "["}}, "not a regular expression"),
        ({"width": {"replace": {"?": None}}}, "'\\?' is no number"),
        ({"width": {"outliers": {"kind": "ratio", "of": ["a", "b"]}}}, "is a feature"),
        ({"width": {"outliers": {"kind": "tukey"}}}, "no transforms part is called 'tukey'"),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_the_pipeline_file(small, rules, message):
    with pytest.raises(ConfigError, match=message):
        small(columns=columns(**rules)).run()


def test_a_config_passes_through_json_unchanged(small):
    config = small(columns=columns(width={"replace": {-999: None}, "outliers": {"kind": "iqr"}}))
    given = config.run().config
    again = type(given).model_validate_json(given.model_dump_json(by_alias=True))
    assert again == given
