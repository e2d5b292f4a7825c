"""Parquet: several files, types that differ from the declared ones, damage."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline_tasks.core.errors import DataError
from tests.sources.made import COLUMNS, Source


def write(path, **columns):
    content = {"width": [1.5, None], "colour": ["red", None], "kind": [0, 1]} | columns
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(content), path)
    return path


def source(path, **more):
    return Source({"kind": "parquet", "path": str(path)}, **more)


@pytest.mark.parametrize("where", ["", "**/*.parquet"])
def test_all_files_of_a_folder_or_glob_are_read_in_order(tmp_path, where):
    write(tmp_path / "b.parquet", width=[3, 4])
    write(tmp_path / "a" / "x.parquet", kind=[1, 0])
    made = source(tmp_path / where)
    frame = made.read()
    assert frame["width"].fillna(0).tolist() == [1.5, 0, 3, 4]
    assert frame["kind"].tolist() == [1, 0, 0, 1]
    assert made.place(1) == f"{tmp_path}/a/x.parquet row 1 (from 0)"
    assert made.place(2) == f"{tmp_path}/b.parquet row 0 (from 0)"


def test_only_declared_columns_are_read_and_the_others_are_named(tmp_path):
    made = source(write(tmp_path / "a.parquet", other=[[1], [2]]))
    assert list(made.read()) == ["width", "colour", "kind"]
    assert made.undeclared() == ["other"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7, None], ["7", None]),
        ([True, False], ["true", "false"]),
        ([Decimal("1.50"), None], ["1.50", None]),
        ([datetime.date(2026, 1, 31), None], ["2026-01-31", None]),
        ([datetime.datetime(2026, 1, 31, 13, 45), None], ["2026-01-31T13:45:00", None]),
        (pa.array(["red", ""]).dictionary_encode(), ["red", None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_what_is_declared_as_a_category_is_written_out(tmp_path, values, expected):
    found = source(write(tmp_path / "a.parquet", colour=values)).read()["colour"]
    assert str(found.dtype) == "str"
    assert [None if pd.isna(value) else value for value in found] == expected


@pytest.mark.parametrize("values", [[None, 7], [None, 1.5], [None, Decimal("1.50")]])
def test_a_number_where_prose_is_declared_is_named_with_its_place(tmp_path, values):
    columns = COLUMNS | {"colour": {"type": "text", "nullable": True}}
    made = source(write(tmp_path / "a.parquet", colour=values), columns=columns)
    place = r"a\.parquet row 1 \(from 0\), column colour: "
    with pytest.raises(DataError, match=rf"(?s)no text.*{place}.*`type: category`"):
        made.read()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2], [1, 2]), (["1.5", " 2 "], [1.5, 2]), ([Decimal("1.5"), Decimal(2)], [1.5, 2])],
)
def test_what_is_declared_as_a_number_is_parsed(tmp_path, values, expected):
    found = source(write(tmp_path / "a.parquet", width=values)).read()["width"]
    assert str(found.dtype) == "float64"
    assert found.tolist() == expected


def test_text_in_a_column_of_numbers_is_named_with_its_file_and_row(tmp_path):
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", width=["1", "wide"])
    message = source(tmp_path).refused()
    assert f"{tmp_path}/b.parquet row 1 (from 0), column width: 'wide'" in message


def test_a_list_in_a_column_of_text_is_named(tmp_path):
    message = source(write(tmp_path / "a.parquet", colour=[[1], None])).refused()
    assert "a.parquet row 0 (from 0), column colour" in message
    assert "no text" in message


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    write(tmp_path / "a.parquet")
    parquet.write_table(pa.table({"kind": [1], "hight": [2.0]}), tmp_path / "b.parquet")
    message = source(tmp_path).refused()
    assert f"{tmp_path}/b.parquet: no column width, colour; there is kind, hight" in message


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_a_file_that_is_no_parquet_is_named(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    assert "a.parquet: cannot be read as Parquet" in source(tmp_path).refused()


def test_a_damaged_file_is_named(tmp_path):
    path = write(tmp_path / "a.parquet", width=[float(n) for n in range(2)])
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)
    path.write_bytes(bytes(content))
    assert "a.parquet: is damaged" in source(path).refused()


def test_files_without_rows_are_refused(tmp_path):
    parquet.write_table(
        pa.table({"width": pa.array([], pa.float64()), "colour": pa.nulls(0), "kind": pa.nulls(0)}),
        tmp_path / "a.parquet",
    )
    assert "there is nothing: no file has a row" in source(tmp_path).refused()


def test_a_missing_file_is_named(tmp_path):
    assert "there is no such file" in source(tmp_path / "a.parquet").refused()


def test_a_class_that_is_missing_stays_missing_for_the_check_to_name(tmp_path):
    found = source(write(tmp_path / "a.parquet", kind=[1, None])).read()["kind"]
    assert found.isna().tolist() == [False, True]
