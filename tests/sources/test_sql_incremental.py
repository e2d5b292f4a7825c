"""SQL with a watermark: a run fetches what is new, and has what earlier runs have fetched."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tasks.core.errors import DataError
from pipeline_tasks.data import watermark
from pipeline_tasks.sources import parquet
from tests import s3
from tests.small import write_small
from tests.sources.incremental import COLUMNS, FIRST, Growing, asked
from tests.sources.made import Source

NEW = (5, "2026-01-05 00:00:00")
PROJECT = Path(__file__).parents[2]
# The process ends when one of two new rows is written.
KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline_tasks import loop
from pipeline_tasks.sources import parquet, sql
from tests.small import Small

def write(self, columns, whole=parquet.Parts.write, written=[]):
    if written:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(columns)
    whole(self, columns)

sql.CHUNK_ROWS, parquet.Parts.write = 1, write
folder = Path(sys.argv[1])
loop.function("ingest")(Small(folder, folder / "rows.csv", folder / "small.yaml").run("killed"))
"""
ANEW = "every row is fetched anew"


@pytest.fixture
def growing(tmp_path):
    path = tmp_path / "shop.db"
    sqlite3.connect(path).close()
    source = {"kind": "sql", "url": f"sqlite:///{path}", "table": "orders", "watermark": "at"}
    made = Growing(write_small(tmp_path, source=source))
    made.execute(f"CREATE TABLE orders {COLUMNS.format('text')}")
    made.insert(*FIRST)
    return made


def test_a_second_run_asks_only_for_what_follows_and_has_all(growing):
    with asked() as first:
        growing.fetched("first")
    growing.insert(NEW)
    with asked() as second:
        ref, numbers, fetched = growing.fetched("second")
    assert set(first) == {(False,)}
    assert set(second) == {(True, "2026-01-04 00:00:00")}
    assert numbers == [1, 2, 3, 4, 5]
    assert fetched == [4, 1]
    assert ref.summary["rows"] == 5


def test_a_row_that_arrives_late_with_an_equal_watermark_is_not_lost(growing):
    growing.fetched("first")
    growing.insert((9, FIRST[-1][1]))
    _, numbers, fetched = growing.fetched("second")
    assert (numbers, fetched) == ([1, 2, 3, 4, 9], [4, 1])
    growing.insert((8, FIRST[-1][1]), NEW)
    _, numbers, fetched = growing.fetched("third")
    assert (numbers, fetched) == ([1, 2, 3, 4, 9, 8, 5], [4, 1, 2])


def test_equal_rows_are_counted_and_not_only_known(growing):
    growing.settings(table=None, query="SELECT width, height, colour, kind, at FROM orders")
    growing.fetched("first")
    growing.execute("INSERT INTO orders SELECT 7, width, height, colour, kind, at FROM orders "
                    "WHERE id = 4")  # fmt: skip
    _, numbers, fetched = growing.fetched("second")
    assert (numbers, fetched) == ([1, 2, 3, 4, 4], [4, 1])
    assert growing.fetched("third")[0].reused


def test_nothing_new_is_reused_and_so_is_what_was_carried(growing):
    first, *_ = growing.fetched("first")
    again, *_ = growing.fetched("second")
    assert (again.reused, again.run) == (True, "first")
    growing.insert(NEW)
    third, *_ = growing.fetched("third")
    fourth, *_ = growing.fetched("fourth")
    assert (third.reused, fourth.reused, fourth.run) == (False, True, "third")
    assert first.digest != third.digest == fourth.digest


def test_each_artifact_is_whole_by_itself_and_no_row_is_written_twice(growing):
    first, *_ = growing.fetched("first")
    growing.insert(NEW)
    second, *_ = growing.fetched("second")
    store = growing.small.run().store
    before, after = (parquet.kept(store.open(ref)) for ref in (first, second))
    assert [path.name for path in after] == ["rows-00000.parquet", "rows-00001.parquet"]
    assert before[0].samefile(after[0])
    before[0].unlink()
    store.open(second)


def test_without_hard_links_files_are_copied(growing, monkeypatch):
    def refuse(self, target):
        raise OSError("no links here")

    growing.fetched("first")
    growing.insert(NEW)
    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    assert growing.fetched("second")[1:] == ([1, 2, 3, 4, 5], [4, 1])


def test_a_fetch_that_is_killed_moves_nothing(growing):
    growing.fetched("first")
    growing.insert(NEW, (6, "2026-01-06 00:00:00"))
    folder = growing.small.folder
    done = subprocess.run([sys.executable, "-c", KILLED, folder], cwd=PROJECT, check=False)
    assert done.returncode == -signal.SIGKILL
    left = [path.name for path in (folder / "store/small/runs/killed").rglob("rows-*")]
    assert sorted(left) == ["rows-00000.parquet", "rows-00001.parquet"]
    assert not (folder / "store/small/runs/killed/raw").exists()
    assert growing.fetched("third")[1:] == ([1, 2, 3, 4, 5, 6], [4, 2])


def test_rows_that_stop_a_run_are_fetched_once_more(growing):
    growing.fetched("first")
    growing.insert(NEW)
    growing.execute("UPDATE orders SET colour = 'rad' WHERE id = 5")
    with pytest.raises(DataError, match="rad"):
        growing.fetched("second")
    growing.execute("UPDATE orders SET colour = 'red' WHERE id = 5")
    assert growing.fetched("third")[1:] == ([1, 2, 3, 4, 5], [4, 1])


def test_a_forced_run_fetches_everything_and_the_next_goes_on_from_it(growing):
    growing.fetched("first")
    growing.execute(
        "UPDATE orders SET width = 0.11 WHERE id = 1", "DELETE FROM orders WHERE id = 2"
    )
    assert growing.fetched("second")[1] == [1, 2, 3, 4]
    forced, *found = growing.fetched("forced", force=True)
    assert found == [[11, 3, 4], [3]]
    assert growing.fetched("third")[0] == forced.model_copy(update={"reused": True})
    growing.insert(NEW)
    assert growing.fetched("fourth")[1:] == ([11, 3, 4, 5], [3, 1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"table": None, "query": "SELECT * FROM orders WHERE id > 0"}, "table, query"),
        ({"since": "2026-01-00"}, "since"),
        ({"watermark": "id"}, "watermark"),
    ],
)
def test_what_is_asked_for_has_changed_and_all_is_fetched_anew(growing, caplog, changes, said):
    growing.fetched("first")
    assert ANEW not in caplog.text
    growing.insert(NEW)
    growing.settings(**changes)
    assert growing.fetched("second")[1:] == ([1, 2, 3, 4, 5], [5])
    assert f"source's {said} changed: {ANEW}" in caplog.text


def test_another_database_is_fetched_anew(growing, caplog, monkeypatch):
    path = growing.small.folder / "shop.db"
    monkeypatch.setenv("SHOP", str(path))
    growing.settings(url="sqlite:///${SHOP}")
    growing.fetched("first")
    monkeypatch.setenv("SHOP", str(path.rename(path.with_name("other.db"))))
    growing.insert(NEW)
    assert growing.fetched("second")[1:] == ([1, 2, 3, 4, 5], [5])
    assert f"source's database changed: {ANEW}" in caplog.text


def test_a_new_column_is_fetched_for_every_row(growing, caplog):
    growing.fetched("first")
    growing.execute("ALTER TABLE orders ADD COLUMN more integer DEFAULT 1")
    assert growing.fetched("second")[1:] == ([1, 2, 3, 4], [4])
    assert f"'more']: {ANEW}" in caplog.text


def test_damaged_rows_are_told_and_fetched_anew(growing, caplog):
    first, *_ = growing.fetched("first")
    parquet.kept(growing.small.run().open(first))[0].write_bytes(b"nothing")
    growing.insert(NEW)
    assert growing.fetched("second")[1:] == ([1, 2, 3, 4, 5], [5])
    assert f"{ANEW}, as run first left none to go on from" in caplog.text


def test_only_the_latest_rows_are_trained_on_and_none_is_forgotten(growing):
    growing.settings(maximum_rows=3)
    assert growing.fetched("first")[1] == [2, 3, 4]
    growing.insert(NEW)
    assert growing.fetched("second")[1:] == ([3, 4, 5], [4, 1])
    growing.insert(*((n, f"2026-01-0{n}") for n in (6, 7, 8, 9)))
    assert growing.fetched("third")[1:] == ([7, 8, 9], [4, 1, 4])
    growing.settings(maximum_rows=100)
    assert growing.fetched("fourth")[1:] == ([*range(1, 10)], [4, 1, 4])
    made = Source(growing.small.run().config.source.model_dump() | {"maximum_rows": 3})
    assert made.place(0) == "table orders row 0 (from 0, of the latest 3 ordered by at)"


def test_a_row_without_a_watermark_waits_until_it_has_one(growing, caplog):
    growing.execute("INSERT INTO orders VALUES (5, 0.05, 0.5, 'red', 1, NULL)")
    assert growing.fetched("first")[1] == [1, 2, 3, 4]
    assert "1 rows have no at: left out until they have" in caplog.text
    growing.execute("UPDATE orders SET at = '2026-01-05' WHERE id = 5")
    assert growing.fetched("second")[1:] == ([1, 2, 3, 4, 5], [4, 1])


def test_bytes_are_no_watermark(growing):
    growing.execute("UPDATE orders SET at = x'00ff'")
    with pytest.raises(DataError, match="the watermark at has the bytes"):
        growing.ingest("first")


def test_an_empty_table_is_begun_when_it_has_rows(growing):
    growing.execute("DELETE FROM orders")
    with pytest.raises(DataError, match="no row"):
        growing.fetched("first")
    growing.insert(*FIRST)
    assert growing.fetched("second")[1:] == ([1, 2, 3, 4], [4])


def test_it_goes_on_from_a_store_in_a_bucket_on_another_machine(growing, tmp_path, monkeypatch):
    with s3.running() as address:
        growing.small.uri = s3.bucket(address, monkeypatch)
        growing.fetched("first")
        growing.insert(NEW)
        (tmp_path / "home").rename(tmp_path / "another home")
        with asked() as second:
            assert growing.fetched("second")[1:] == ([1, 2, 3, 4, 5], [4, 1])
        assert set(second) == {(True, "2026-01-04 00:00:00")}
        assert growing.fetched("third")[0].reused


def test_what_an_earlier_version_has_left_is_no_mistake(tmp_path, caplog):
    assert watermark.read(tmp_path, {}) is None
    assert not caplog.text
    (tmp_path / watermark.FILE).write_text('{"column": "at", "since": null, "seen": 3}')
    assert watermark.read(tmp_path, {}) is None
    assert ANEW in caplog.text
