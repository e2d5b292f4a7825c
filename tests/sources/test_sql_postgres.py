"""SQL: PostgreSQL, the real one."""

from __future__ import annotations

import json
import traceback
import tracemalloc
from urllib.parse import quote

import psycopg2
import pytest
from pyarrow import parquet

from pipeline_tasks.core.errors import DataError, TransientError
from pipeline_tasks.sources import sql
from tests.small import write_small
from tests.sources.incremental import COLUMNS as GROWING_COLUMNS
from tests.sources.incremental import Growing, asked, sent
from tests.sources.made import COLUMNS, Source
from tests.sources.postgres import PASSWORD, running

TABLE = """
CREATE SCHEMA shop;
CREATE TABLE shop."Orders" (
  id bigint PRIMARY KEY, width numeric(20, 4), colour text, kind smallint, is_new boolean,
  changed_at timestamptz, day date, tags text[], more jsonb, key uuid
);
INSERT INTO shop."Orders" SELECT n, n + 0.25, CASE WHEN n % 3 = 0 THEN NULL ELSE 'é' || n END,
  n % 2, n % 2 = 0, '2026-01-01Z'::timestamptz + n * interval '1 hour', '2026-01-01',
  ARRAY['a', 'b'], '{"a": 1}', '00000000-0000-0000-0000-000000000001'
FROM generate_series(1, 25) AS n ORDER BY random();
CREATE VIEW shop.latest AS SELECT * FROM shop."Orders" WHERE id > 20;
"""


@pytest.fixture(scope="module")
def port():
    with running() as port:
        connected = connect(port)
        connected.cursor().execute(TABLE)
        connected.commit()
        connected.close()
        yield port


def connect(port):
    return psycopg2.connect(
        host="127.0.0.1", port=port, user="me", password=PASSWORD, dbname="postgres"
    )


@pytest.fixture
def made(port, monkeypatch):
    """A source by way of Airflow's connection."""
    uri = f"postgres://me:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres?connect_timeout=5"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)

    def make(**settings):
        settings = {"table": "shop.Orders"} | settings if "query" not in settings else settings
        return Source({"kind": "sql", "connection": "shop"} | settings)

    return make


def test_a_table_is_streamed_in_order_and_in_the_declared_types(made, monkeypatch):
    monkeypatch.setattr(sql, "CHUNK_ROWS", 10)
    source = made()
    source.columns = (
        COLUMNS
        | {name: {"type": "category"} for name in ("is_new", "day", "tags", "more", "key")}
        | {"changed_at": {"type": "date"}}
    )
    frame = source.read()
    assert frame["width"].tolist() == [n + 0.25 for n in range(1, 26)]
    assert frame["colour"].isna().sum() == 8
    assert frame["colour"][0] == "é1"
    assert str(frame["kind"].dtype) == "int64"
    last = frame.iloc[-1]
    assert last["changed_at"].startswith("2026-01-02T01:00:00")
    assert last[["is_new", "day", "tags", "more"]].tolist() == [
        "false",
        "2026-01-01",
        '["a", "b"]',
        '{"a": 1}',
    ]
    assert last["key"].endswith("0001")


def test_a_watermark_is_compared_as_the_database_s_own_type(made, tmp_path):
    source = made(watermark="changed_at", since="2026-01-01 20:00Z")
    kept = source.fetch(tmp_path)
    assert len(source.read()) == 5
    assert json.loads(kept["watermark.json"])["seen"].startswith("2026-01-02T01:00:00")


def test_a_query_with_a_percent_sign_and_a_cast_is_taken_as_it_is(made):
    query = "SELECT width::float8, colour, kind % 2 AS kind FROM shop.latest WHERE colour LIKE 'é%'"
    frame = made(query=query, watermark="width", since=22.5).read()
    assert frame["width"].tolist() == [23.25, 25.25]


def test_a_view_is_a_table_too(made):
    assert len(made(table="shop.latest").read()) == 5


def test_the_digest_is_of_the_rows(made, port):
    first = made().digest()
    assert made().digest() == first
    connected = connect(port)
    connected.cursor().execute("""UPDATE shop."Orders" SET colour = 'é26' WHERE id = 25""")
    connected.commit()
    assert made().digest() != first
    connected.cursor().execute("""UPDATE shop."Orders" SET colour = 'é25' WHERE id = 25""")
    connected.commit()
    connected.close()
    assert made().digest() == first


def test_a_missing_table_is_told_with_those_that_are_there(made):
    assert "one of Orders, latest" in made(table="shop.orders").refused()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('SELECT nothing FROM shop."Orders"', 'column "nothing" does not exist'),
        ('SELECT width / (id - 25) AS width, colour, kind FROM shop."Orders"', "division by zero"),
    ],
)
def test_what_the_database_refuses_is_told(made, query, said):
    assert said in made(query=query).refused()


def test_a_query_changes_nothing(made, port):
    query = 'WITH gone AS (DELETE FROM shop."Orders" RETURNING *) SELECT * FROM gone'
    with pytest.raises(DataError):
        made(query=query).digest()
    assert len(made().read()) == 25


@pytest.mark.parametrize("form", ["url", "connection", "json"])
def test_a_wrong_password_is_refused_and_in_no_message(port, monkeypatch, form):
    wrong = "wr0ng:p@ss/"
    address = f"me:{quote(wrong, safe='')}@127.0.0.1:{port}/postgres"
    monkeypatch.setenv("SHOP_PASSWORD", quote(wrong, safe=""))
    settings = {"connection": "shop"}
    if form == "url":
        settings = {"url": f"postgresql://me:${{SHOP_PASSWORD}}@127.0.0.1:{port}/postgres"}
    known = {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "login": "me"}
    known |= {"password": wrong, "schema": "postgres"}
    uri = json.dumps(known) if form == "json" else f"postgres://{address}"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
    with pytest.raises(DataError, match="authentication failed") as caught:
        Source({"kind": "sql", "table": "a"} | settings).digest()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)
    assert wrong not in told
    assert quote(wrong, safe="") not in told
    assert "me:***@127.0.0.1" in told


def test_a_password_in_url_s_query_is_hidden(port, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    url = f"postgresql://me@127.0.0.1:{port}/postgres?password=${{SHOP_PASSWORD}}"
    with pytest.raises(DataError, match="authentication failed") as caught:
        Source({"kind": "sql", "url": url, "table": "a"}).digest()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_is_down_is_worth_another_try(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    url = "postgresql://me:${SHOP_PASSWORD}@127.0.0.1:1/postgres"
    with pytest.raises(TransientError, match="refused") as caught:
        Source({"kind": "sql", "url": url, "table": "a"}).digest()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_rows_come_in_chunks_and_are_never_all_in_memory(made, monkeypatch, tmp_path):
    monkeypatch.setattr(sql, "CHUNK_ROWS", 10)
    made().fetch(tmp_path)
    kept = parquet.ParquetFile(tmp_path / "rows-00000.parquet").metadata
    assert [kept.row_group(index).num_rows for index in range(kept.num_row_groups)] == [10, 10, 5]


def test_a_large_result_is_streamed_by_the_server(made, tmp_path):
    tracemalloc.start()
    try:
        query = "SELECT repeat(n::text, 20) AS colour FROM generate_series(1, {}) AS n"
        peaks = []
        for rows in (20_000, 60_000):
            tracemalloc.reset_peak()
            made(query=query.format(rows)).fetch(tmp_path)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.fixture(params=["timestamptz", "numeric", "bigint", "date"])
def growing(request, port, tmp_path, monkeypatch):
    """A pipeline on a table whose watermark is of this type."""
    uri = f"postgres://me:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
    source = {"kind": "sql", "connection": "shop", "table": "orders", "watermark": "at"}
    made = Growing(write_small(tmp_path, source=source))
    made.execute(
        f"CREATE TABLE orders {GROWING_COLUMNS.format(request.param)}",
        "DROP ROLE IF EXISTS somebody",
        "CREATE ROLE somebody LOGIN PASSWORD 'other'",
        "GRANT SELECT ON orders TO somebody",
    )
    yield made, moments(request.param)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
    made.execute("DROP TABLE orders")


def moments(kind):
    """Three values that grow, as one would write them, which is not how they are read."""
    return {
        "timestamptz": [
            "2026-10-25 02:30:00.000001+02",
            "2026-10-25 02:30+01",
            "2026-10-25 03:00Z",
        ],
        "numeric": ["9.50", "10.123456789012345678", "1e2"],
        "bigint": ["9", "10", "9007199254740993"],
        "date": ["2026-01-09", "2026-01-10", "2026-02-01"],
    }[kind]


def test_a_second_run_fetches_what_follows_and_what_arrives_late(growing, port, monkeypatch):
    made, (first, second, third) = growing
    made.insert((1, first), (2, first), (3, second))
    made.fetched("first")
    made.insert((4, second))
    with asked() as found:
        assert made.fetched("second")[1:] == ([1, 2, 3, 4], [3, 1])
    assert len(set(found)) == 1
    assert found[0][0], "asked for all rows"
    # Who asks makes no difference.
    uri = f"postgres://somebody:other@127.0.0.1:{port}/postgres"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri)
    assert made.fetched("third")[0].reused
    monkeypatch.setenv(
        "AIRFLOW_CONN_SHOP", uri.replace("somebody:other", f"me:{quote(PASSWORD, '')}")
    )
    made.insert((5, third), (6, third))
    assert made.fetched("fourth")[1:] == ([1, 2, 3, 4, 5, 6], [3, 1, 2])
    assert made.fetched("forced", force=True)[2] == [6]
    assert made.fetched("sixth")[0].reused


def test_the_database_sends_only_what_follows(growing):
    made, (first, second, _) = growing
    made.insert(*((n, first) for n in range(1, 90)), (90, second))
    made.fetched("first")
    made.insert((91, second))
    with sent() as counted:
        made.fetched("second")
    assert counted == [2, 2]  # the boundary's row and the new one; for the digest, for the fetch
