"""SQL: what any database has to do, with SQLite."""

from __future__ import annotations

import json
import logging
import sqlite3

import pandas as pd
import pytest
import yaml
from pyarrow import parquet

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError, TransientError
from pipeline_tasks.sources import sql
from tests.sources.made import Source

ROWS = [(1, 1.5, "red", 0, "2026-01-01"), (2, None, None, 1, "2026-01-03")]
MORE = [(3, 3.0, "green", 1, "2026-01-02")]


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connected:
        connected.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, width, colour, kind, changed_at)"
        )
        connected.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", ROWS + MORE)
    connected.close()
    return path


def source(path, **more):
    settings = {"kind": "sql", "url": f"sqlite:///{path}"} | more
    settings |= {} if "query" in more else {"table": more.get("table", "orders")}
    return Source(settings)


def execute(path, statement):
    with sqlite3.connect(path) as connected:
        connected.execute(statement)
    connected.close()


def test_a_table_is_read_in_the_order_of_its_primary_key(database):
    frame = source(database).read()
    assert frame["width"].fillna(0).tolist() == [1.5, 0, 3]
    assert [None if pd.isna(one) else one for one in frame["colour"]] == ["red", None, "green"]
    assert frame["kind"].tolist() == [0, 1, 1]
    assert source(database).place(2) == "table orders row 2 (from 0)"
    assert source(database).undeclared() == ["id", "changed_at"]


def test_a_query_is_taken_as_it_is(database):
    query = (
        "SELECT width, 'a:b ' || ':c' || '%' || '%s' AS colour, kind FROM orders ORDER BY id DESC; "
    )
    frame = source(database, query=query).read()
    assert frame["colour"].unique().tolist() == ["a:b :c%%s"]
    assert frame["width"][0] == 3


def test_a_query_may_end_in_a_comment(database):
    frame = source(database, query="WITH x AS (SELECT * FROM orders) SELECT * FROM x -- all").read()
    assert len(frame) == 3


def test_rows_behind_the_watermark_are_left_out_and_the_greatest_is_kept(database, tmp_path):
    made = source(database, watermark="changed_at", since="2026-01-01")
    kept = made.fetch(tmp_path / "kept")
    told = json.loads(kept["watermark.json"])
    assert (told["column"], told["seen"], told["fetched"]) == ("changed_at", "2026-01-03", [2])
    assert told["origin"]["since"] == "2026-01-01"
    assert made.read()["colour"].tolist()[0] == "green"
    assert len(made.read()) == 2
    assert "ordered by changed_at" in made.place(0)
    later = source(
        database, watermark="changed_at", since="2026-01-03", query="SELECT * FROM orders"
    )
    assert "there is nothing: no row" in later.refused()


def test_a_date_in_yaml_is_a_watermark_too(database):
    params = yaml.safe_load("{url: 'sqlite://', table: a, watermark: b, since: 2026-01-01}")
    assert sql.Params.model_validate(params).since == "2026-01-01"


def test_many_chunks_and_types_that_change_are_read_whole(database, monkeypatch):
    monkeypatch.setattr(sql, "CHUNK_ROWS", 2)
    values = [(n, [n, None, n + 0.5, str(n)][n % 4], str(n), n % 2, "") for n in range(10, 110)]
    with sqlite3.connect(database) as connected:
        connected.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", values)
    connected.close()
    frame = source(database).read()
    assert len(frame) == 103
    for position, (_, width, colour, kind, _) in enumerate(values, start=3):
        if width is None:
            assert pd.isna(frame["width"][position])
        else:
            assert frame["width"][position] == float(width)
        assert frame["colour"][position] == colour
        assert frame["kind"][position] == kind


def test_rows_come_in_chunks(database, monkeypatch, tmp_path):
    monkeypatch.setattr(sql, "CHUNK_ROWS", 2)
    source(database).fetch(tmp_path)
    kept = parquet.ParquetFile(tmp_path / "rows-00000.parquet").metadata
    assert [kept.row_group(index).num_rows for index in range(kept.num_row_groups)] == [2, 1]


def test_the_digest_is_that_of_the_rows_and_not_of_their_order_or_place(database, tmp_path):
    first = source(database).digest()
    copy = tmp_path / "copy.db"
    copy.write_bytes(database.read_bytes())
    backwards = "SELECT * FROM orders ORDER BY id DESC"
    assert source(copy).digest() == first
    assert source(copy, query=backwards).digest() == first
    execute(copy, "UPDATE orders SET width = 4 WHERE id = 3")
    assert source(copy).digest() != first


@pytest.mark.parametrize("scheme", ["uri", "json"])
def test_a_connection_of_airflow_is_read_from_its_variable(database, monkeypatch, scheme):
    text = f"sqlite:///{database}"
    if scheme == "json":
        text = json.dumps({"conn_type": "sqlite", "host": str(database), "extra": {}})
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", text)
    made = Source({"kind": "sql", "connection": "shop_db", "table": "orders"})
    assert len(made.read()) == 3


@pytest.mark.parametrize("text", [None, "{not json", '["a"]', "nothing", "postgres://h:notaport/x"])
def test_a_connection_that_cannot_be_read_is_named_without_its_value(monkeypatch, text):
    if text is not None:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", text)
    message = Source({"kind": "sql", "connection": "shop_db", "table": "orders"}).refused()
    assert "AIRFLOW_CONN_SHOP_DB" in message
    assert text is None or text not in message


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("postgres://me:p%40ss@h:5432/d", "postgresql+psycopg2://me:***@h:5432/d"),
        (
            "postgresql://me:p@h/d?sslmode=require",
            "postgresql+psycopg2://me:***@h/d?sslmode=require",
        ),
        ("mysql://me@h/d", "mysql://me@h/d"),
    ],
)
def test_airflow_s_uri_becomes_sqlalchemy_s(monkeypatch, uri, url):
    monkeypatch.setenv("AIRFLOW_CONN_C", uri)
    found = sql.address(None, "c")
    assert found.render_as_string(hide_password=True) == url
    assert "%40" not in uri or found.password == "p@ss"


def test_a_url_for_postgresql_gets_its_driver(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "p%40ss")
    found = sql.address("postgres://me:${SHOP_PASSWORD}@h/d", None)
    assert found.drivername == "postgresql+psycopg2"
    assert found.password == "p@ss"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "postgresql://me:hunter2@h/d"}, "me:***@h/d"),
        ({"url": "postgresql://me:hun/ter2@h/d"}, "me:***@h/d"),
        ({"url": "postgresql://h/d?user=me&password=hunter2"}, "password=***"),
        ({"url": "postgresql://h/d", "password": "hunter2"}, "'***'"),
    ],
)
def test_a_password_in_the_pipeline_file_is_refused_and_not_repeated(small, settings, said):
    made = small(source={"kind": "sql", "table": "orders"} | settings)
    with pytest.raises(ConfigError) as caught:
        config.load(made.yaml)
    message = str(caught.value)
    assert "a secret must not be in this file" in message
    assert said in message
    assert "hunter2" not in message
    assert "ter2" not in message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "sqlite://"}, "either `table` or `query`"),
        ({"table": "t"}, "either `url` or `connection`"),
        ({"url": "sqlite://", "connection": "c", "table": "t"}, "either `url` or `connection`"),
        ({"url": "sqlite://", "table": "t", "since": 3}, "`since` needs `watermark"),
        ({"url": "sqlite://", "table": "t", "maximum_rows": 3}, "`maximum_rows` needs `watermark"),
        ({"url": "sqlite://", "query": "DROP TABLE t"}, "query"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        sql.Params.model_validate(settings)


def test_a_variable_in_the_url_is_filled_in(database, monkeypatch):
    monkeypatch.setenv("WHERE_IT_IS", str(database))
    assert (
        len(Source({"kind": "sql", "url": "sqlite:///${WHERE_IT_IS}", "table": "orders"}).read())
        == 3
    )


def test_a_missing_database_is_named_and_none_is_made(tmp_path):
    assert "none.db: there is no such file" in source(tmp_path / "none.db").refused()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "a.db").write_text("not a database, " * 100)
    assert "file is not a database" in source(tmp_path / "a.db").refused()


def test_a_missing_table_is_told_with_those_that_are_there(database):
    message = source(database, table="order").refused()
    assert "no table order" in message
    assert "one of orders" in message


def test_a_view_is_a_table_too(database):
    execute(database, "CREATE VIEW red AS SELECT * FROM orders WHERE colour = 'red'")
    assert source(database, table="red").read()["width"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT other FROM orders", "no such column: other"),
        ("SELECT FROM WHERE", "syntax error"),
        ("SELECT *, 1 AS id FROM orders", "the column id twice"),
        ("SELECT kind FROM orders", "no column width, colour; there is kind"),
        (
            "SELECT 'wide' AS width, colour, kind FROM orders",
            "row 0 (from 0), column width: 'wide'",
        ),
        ("SELECT width, x'00ff' AS colour, kind FROM orders", "column colour: b'\\x00\\xff'"),
        ("SELECT * FROM orders WHERE 1 = 0", "no row"),
    ],
)
def test_a_query_that_does_not_fit_is_told(database, query, said):
    assert said in source(database, query=query).refused()


def test_a_watermark_that_is_no_column_is_told(database):
    made = source(database, watermark="nothing", since=1, query="SELECT * FROM orders")
    assert "nothing" in made.refused()


def test_a_locked_database_is_worth_another_try(database):
    with sqlite3.connect(database) as connected:
        connected.execute("BEGIN EXCLUSIVE")
        made = source(f"{database}?timeout=0.05")
        with pytest.raises(TransientError, match="database is locked"):
            made.digest()
    connected.close()


def test_what_stops_half_way_raises_and_says_where(database, tmp_path):
    execute(
        database,
        "CREATE VIEW bad AS SELECT width, colour, json_extract(kind, '$') AS kind FROM orders",
    )
    execute(database, "UPDATE orders SET kind = '{' WHERE id = 3")
    assert "malformed JSON" in source(database, table="bad").refused()


def test_a_driver_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="mysqlclient"):
        Source({"kind": "sql", "url": "mysql://me@h/d", "table": "t"}).digest()
    with pytest.raises(ConfigError, match="nosuch"):
        Source({"kind": "sql", "url": "nosuch://me@h/d", "table": "t"}).digest()


def test_a_url_that_is_none_is_not_repeated():
    message = Source({"kind": "sql", "url": "me and hunter2", "table": "t"}).refused()
    assert "no SQLAlchemy URL" in message
    assert "hunter2" not in message


def test_progress_is_logged_without_secrets(database, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    source(database, watermark="changed_at").fetch(tmp_path / "kept")
    assert "3 rows fetched" in caplog.text
    assert "the greatest changed_at is 2026-01-03" in caplog.text
