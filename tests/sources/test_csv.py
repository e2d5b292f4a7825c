"""CSV: packed files, several files, and what text means."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline_tasks.core.errors import ConfigError, DataError
from tests.sources.made import Source

HEADER = "width,colour,kind\n"


def source(path: object, **more: object) -> Source:
    return Source({"kind": "csv", "path": str(path), **more})


def write(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        (folder / f"{name}.csv").write_text(content)
    return folder / "*.csv"


def test_several_files_are_read_in_the_order_of_their_names(tmp_path):
    path = write(
        tmp_path,
        b="kind,width,colour\n1,3,blue\n",
        a=HEADER + "1,red,0\n2,green,1\n",
    )
    frame = source(path).read()
    assert frame["width"].tolist() == [1, 2, 3]
    assert frame["colour"].tolist() == ["red", "green", "blue"]
    assert frame["kind"].tolist() == [0, 1, 1]


def test_a_folder_is_all_its_files_packed_or_not(tmp_path):
    write(tmp_path, a=HEADER + "1,red,0\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.csv.gz").write_bytes(gzip.compress((HEADER + "2,red,1\n").encode()))
    (tmp_path / "notes.txt").write_text("not data")
    assert source(tmp_path).read()["width"].tolist() == [1, 2]


def test_the_place_is_the_right_file_and_line(tmp_path):
    path = write(
        tmp_path,
        a=HEADER + '1,"red\nor so",0\n\n2,green,1\n',
        b=HEADER + "3,blue,1\n",
    )
    made = source(path)
    assert made.place(0) == f"{tmp_path / 'a.csv'} line 2"
    assert made.place(1) == f"{tmp_path / 'a.csv'} line 5"
    assert made.place(2) == f"{tmp_path / 'b.csv'} line 2"


def test_a_wrong_value_is_told_with_its_own_file_and_line(tmp_path):
    path = write(tmp_path, a=HEADER + "1,red,0\n", b=HEADER + "2,red,1\nwide,red,1\n")
    message = source(path).refused()
    assert f"{tmp_path / 'b.csv'} line 3, column width: 'wide'" in message


def test_the_place_is_still_told_when_the_file_is_gone(tmp_path):
    made = source(tmp_path / "rows.csv")
    assert made.place(3) == f"{tmp_path / 'rows.csv'} line 5"


def test_files_with_other_headers_are_refused(tmp_path):
    path = write(tmp_path, a=HEADER + "1,red,0\n", b="width,colour,kind,size\n1,red,0,2\n")
    message = source(path).refused()
    assert "b.csv line 1: another header than" in message
    assert "only one of the two has size" in message


def test_packed_rows_have_the_digest_of_the_same_rows_unpacked(tmp_path):
    content = HEADER + "1,red,0\n"
    (tmp_path / "a.csv").write_text(content)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(content.encode()))
    plain, packed = source(tmp_path / "a.csv"), source(tmp_path / "b.csv.gz")
    assert plain.digest() == packed.digest()
    assert plain.read().equals(packed.read())
    assert packed.place(0) == f"{tmp_path / 'b.csv.gz'} line 2"


@pytest.mark.parametrize("cut", [0, 8])
def test_a_packed_file_that_is_cut_or_is_none_is_refused(tmp_path, cut):
    packed = gzip.compress((HEADER + "1,red,0\n" * 50).encode())
    (tmp_path / "a.csv.gz").write_bytes(packed[:-cut] if cut else b"not packed at all")
    message = source(tmp_path / "a.csv.gz").refused()
    assert "a.csv.gz: cannot be unpacked" in message


@pytest.mark.parametrize("path", ["nothing/*.csv", "."])
def test_a_glob_or_folder_without_files_is_refused(tmp_path, path):
    assert "no file is there" in source(tmp_path / path).refused()


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(ConfigError, match="environment variable WHERE_NOTHING_IS is not set"):
        source("${WHERE_NOTHING_IS}/rows.csv").digest()


def test_text_is_missing_only_where_the_file_says_so(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + "NA,None,0\n?,?,1\n,,1\n")
    frame = source(tmp_path / "a.csv", missing=["?"]).read()
    assert frame["width"].isna().tolist() == [True, True, True]
    assert frame["colour"].isna().tolist() == [False, True, True]
    assert frame["colour"][0] == "None"


def test_a_quoted_line_break_in_the_last_row_is_no_cut(tmp_path):
    (tmp_path / "a.csv").write_text('colour,kind,width\nred,0,1\n"green\ntoo",1,2\n')
    (tmp_path / "b.csv").write_text('width,kind,colour\n1,0,red\n2,1,"green\ntoo"\n')
    for name in ("a.csv", "b.csv"):
        assert source(tmp_path / name).read()["colour"].tolist() == ["red", "green\ntoo"]


def test_an_image_is_a_column_for_each_pixel(tmp_path):
    (tmp_path / "a.csv").write_text("scan[1],scan[0],kind\n2,1,0\n4,3,1\n")
    columns = {"scan": {"type": "image", "shape": [1, 2]}}
    made = Source({"kind": "csv", "path": str(tmp_path / "a.csv")}, columns=columns)
    frame = made.read()
    assert frame[["scan[0]", "scan[1]"]].to_numpy().tolist() == [[1, 2], [3, 4]]
    assert str(frame["scan[0]"].dtype) == "float32"


def test_columns_that_are_not_declared_are_named(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"width,colour,more,kind\n1,red,2,0\n"))
    assert source(tmp_path / "a.csv.gz").undeclared() == ["more"]


def test_a_file_that_vanishes_leaves_nothing(tmp_path):
    with pytest.raises(DataError):
        source(tmp_path / "gone.csv").fetch(tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("1,red,0\n2,red,1", ","),
        ("1,red,0\r\n\r\n2,red,1\r\n", ","),
        ("\n1,red,0\n\n\n  \n2,red,1\n \n\n", ","),
        ('1,"red, or ""so""",0\n2,"a\n\nb",1\n3,red,1\n', ","),
        ('1,5" pipe,0\n2,red,1\n3,6" pipe,0\n4,"two\nlines",0\n', ","),
        ("1\tred\t0\n\t\t1\n2\t\t1\n", "\t"),
        ("1,red,0\r2,red,1\r", ","),
        ("1,red,0\n" * 50_000 + '2,"\n",1\n' + "1,red,0\n" * 500_000, ","),
    ],
)
def test_rows_are_counted_as_they_are_read(tmp_path, text, separator):
    header = "width,colour,kind\n".replace(",", separator)
    (tmp_path / "a.csv").write_bytes((header + text).encode())
    made = source(tmp_path / "a.csv", separator=separator)
    frame = made.read()
    assert made.count() == len(frame)


def test_a_file_that_is_no_text_is_not_counted(tmp_path):
    (tmp_path / "a.csv").write_bytes(HEADER.encode() + b'1,"\xff\n2,b,1\n')
    assert source(tmp_path / "a.csv").count() is None
