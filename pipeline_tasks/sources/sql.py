"""Rows of a database: a table or a query, of any database that SQLAlchemy knows.

With a `watermark`, a run reads only the rows from the greatest one on that earlier runs of the
pipeline have fetched and checked, and has theirs, too; one that arrives late with an equal
watermark is not lost. Every row is fetched anew when the run is forced, when the database, table,
query, watermark, `since` or the columns of the result have changed, and when the earlier rows are
damaged or gone; the log says which. What is not noticed: a row that arrives with a smaller
watermark, and earlier rows that are deleted or altered. A row that is altered and gets a new
watermark comes again, as one more. So name a column that is written once, such as an id that grows
or the moment of the insert, and force a run from time to time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ConfigError, DataError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import tables, watermark
from pipeline_tasks.data.database import check_file, primary_key, told
from pipeline_tasks.sources import connection, expand, refuse_secrets
from pipeline_tasks.sources.parquet import Parts, carry, kept, of_arrow, plain

if TYPE_CHECKING:
    import pandas as pd
    import sqlalchemy as sa

log = logging.getLogger(__name__)

CHUNK_ROWS = 10_000
DRIVERS = {"postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2"}
# What SQLAlchemy would take for a parameter; here it is only text.
PARAMETER = r"(?<![:\w\\]):([\w$]+)(?![:\w$])"
Rows = list[list[Any]]
Mark = Annotated[
    int | float | str, BeforeValidator(lambda mark: str(mark) if isinstance(mark, date) else mark)
]


class Database(Frozen):
    """Which database, for a source or a storage."""

    url: str | None = Field(None, description="Of SQLAlchemy; ${NAME} is a variable.")
    connection: str | None = Field(
        None, description="A connection of Airflow, or AIRFLOW_CONN_<NAME> in the environment."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, content: object) -> object:
        return refuse_secrets(content)

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if (self.url is None) == (self.connection is None):
            raise ValueError("needs either `url` or `connection`")
        return self


class Params(Database):
    """Which database, and what of it.

    source: {kind: sql, connection: shop, table: public.orders, watermark: created_at,
             since: "2026-01-01", maximum_rows: 1000000}
    source: {kind: sql, url: "postgresql://me:${SHOP_PASSWORD}@db/shop", query: "SELECT ..."}
    """

    table: str | None = Field(None, description="A table or view, such as orders or shop.orders.")
    query: str | None = Field(
        None, pattern=r"(?i)^\s*(select|with)\b", description="A SELECT; its rows are taken as is."
    )
    watermark: str | None = Field(
        None,
        description="A column that only grows: a run reads what follows the rows of earlier runs, "
        "and has those, too. A row without a value waits until it has one.",
    )
    since: Mark | None = Field(None, description="Only rows whose watermark is greater, ever.")
    maximum_rows: int | None = Field(
        None, ge=1, description="With a watermark: only so many of the latest rows are trained on."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("needs either `table` or `query`")
        for name in ("since", "maximum_rows"):
            if getattr(self, name) is not None and self.watermark is None:
                raise ValueError(f"`{name}` needs `watermark: <column>`")
        return self


def is_incremental(params: Params) -> bool:
    """Whether a fetch can go on where an earlier one ended."""
    return params.watermark is not None


def digest(params: Params, earlier: Path | None = None) -> str:
    """The digest of the rows that a fetch would keep, whatever their order.

    The database has to send for this what it sends for the fetch; nothing is kept.
    """
    with _following(params, earlier) as (progress, chunks):
        for chunk in chunks:
            progress.new(chunk)
    return progress.digest()


def fetch(params: Params, folder: Path, earlier: Path | None = None) -> int:
    """Keep the rows as Parquet, chunk by chunk; with a watermark, how far they go as well.

    earlier: the folder of an earlier fetch. Its files become files of this one, too, by hard links
    where there are some, and only what follows is asked for: so each folder is whole by itself.
    In the order of the watermark; else of a table's primary key, a query's own, or the database's.
    Decimal numbers, dates and moments are kept as text, exactly; JSON as its text.
    """
    count, mark = 0, params.watermark
    with _following(params, earlier) as (progress, chunks):
        carried = carry(earlier, folder) if earlier and progress.before else 0
        with Parts(folder, progress.names, first=carried) as parts:
            for chunk in chunks:
                rows = progress.new(chunk) if mark else chunk
                if rows:
                    parts.write([list(column) for column in zip(*rows, strict=True)])
                count += len(rows)
                log.info("%s rows fetched", count)
    if mark is None:
        return count
    if progress.without:
        log.warning("%s rows have no %s: left out until they have", progress.without, mark)
    left = progress.watermark(_origin(params), count)
    left.write(folder)
    log.info("%s new rows of %s; the greatest %s is %s", count, sum(left.fetched), mark, left.seen)
    return sum(left.fetched)


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The declared columns in their declared types.

    Raises DataError that names the row, column and value that cannot be.
    """
    import pandas as pd
    from pyarrow import parquet

    frames, before, paths = list[pd.DataFrame](), 0, kept(folder)
    rows = sum(parquet.read_metadata(path).num_rows for path in paths)
    spare = max(0, rows - params.maximum_rows) if params.maximum_rows else 0
    for path in paths:
        whole = parquet.read_table(path)
        tables.check_names(whole.column_names, config, _title(params))
        table, spare = whole.slice(spare), max(0, spare - len(whole))
        if len(table):
            frames.append(of_arrow(table, config, partial(_place, params, before)))
            before += len(table)
    if not rows:
        raise tables.empty(_title(params), "no row")
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def undeclared(params: Params, folder: Path, config: PipelineConfig) -> list[str]:
    """Columns of the result that the pipeline file does not declare."""
    from pyarrow import parquet

    return tables.undeclared(parquet.read_schema(kept(folder)[0]).names, config)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0): its number in the order it was fetched in."""
    return _place(params, 0, row)


def _place(params: Params, before: int, row: int) -> str:
    latest = f"of the latest {params.maximum_rows} " if params.maximum_rows else ""
    order = f", {latest}ordered by {params.watermark}" if params.watermark else ""
    return f"{_title(params)} row {before + row} (from 0{order})"


def _title(params: Params) -> str:
    return f"table {params.table}" if params.table else "the query's result"


def _origin(params: Params) -> dict[str, JsonValue]:
    """Which rows of which database; who asks for them, and with which password, is not in it."""
    url = address(params.url, params.connection)
    place = {"backend": url.get_backend_name(), "host": url.host, "port": url.port}
    wanted = params.model_dump(mode="json", exclude={"maximum_rows"})
    return place | {"database": url.database} | wanted


@contextmanager
def _following(
    params: Params, earlier: Path | None
) -> Iterator[tuple[watermark.Progress, Iterator[Rows]]]:
    """The rows, as Parquet keeps them, that follow the earlier ones, or all of them."""
    before = watermark.read(earlier, _origin(params)) if earlier else None
    with _rows(params, before) as (names, chunks):
        if before is None or names == before.names:
            yield watermark.Progress(names, params.watermark, before), chunks
            return
    log.warning("columns %s changed to %s: every row is fetched anew", before.names, names)
    with _rows(params, None) as (names, chunks):
        yield watermark.Progress(names, params.watermark, None), chunks


def address(url_text: str | None, name: str | None, section: str = "source") -> sa.URL:
    """Of a database that a section of the pipeline file names, by URL or by connection."""
    import sqlalchemy as sa

    if name is not None:
        found = connection(name)
        return sa.URL.create(
            DRIVERS.get(found.kind, found.kind),
            username=found.login or None,
            password=found.password.get_secret_value() or None,
            host=None if found.kind == "sqlite" else found.host or None,
            port=found.port,
            database=found.database or (found.host if found.kind == "sqlite" else None),
            query=found.extra,
        )
    try:
        url = sa.make_url(expand(url_text or ""))
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigError(
            f"{section}.url is no SQLAlchemy URL",
            expected="such as postgresql://${USER}:${PASSWORD}@host:5432/database",
            fix=f"mend {section}.url, and write @ / : in a password as %40 %2F %3A",
        ) from None
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


@contextmanager
def _rows(
    params: Params, before: watermark.Watermark | None
) -> Iterator[tuple[list[str], Iterator[Rows]]]:
    """The result's column names, and its rows in chunks. What the query changes is not kept."""
    import sqlalchemy as sa

    url = address(params.url, params.connection)
    with told(url, "connecting"):
        check_file(url)
        connected = sa.create_engine(url, poolclass=sa.NullPool).connect()
    with connected, told(url, "reading"):
        streamed = {"stream_results": True, "yield_per": CHUNK_ROWS}
        result = connected.execute(
            _statement(params, before, connected), execution_options=streamed
        )
        names = list(result.keys())
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"{_title(params)} has the column {repeated[0]} twice",
                expected="a name of its own for each column",
                fix="name them in the query: SELECT a.id AS a_id, b.id AS b_id ...",
            )
        if params.watermark not in (None, *names):
            raise DataError(
                f"{_title(params)} has no column {params.watermark}, the watermark",
                expected=f"one of {', '.join(names)}, written like this",
                fix="mend source.watermark",
            )
        chunks = result.partitions(CHUNK_ROWS)
        yield names, ([[plain(one) for one in row] for row in chunk] for chunk in chunks)


def _statement(
    params: Params, before: watermark.Watermark | None, connected: sa.Connection
) -> sa.Executable:
    import sqlalchemy as sa

    keys: list[str] = []
    if params.table is not None:
        schema, _, name = params.table.rpartition(".")
        keys = primary_key(connected, name, schema or None)
        wanted: sa.FromClause | sa.TextClause = sa.table(name, schema=schema or None)
    else:
        query = re.sub(PARAMETER, r"\\:\1", (params.query or "").rstrip().rstrip(";"))
        if params.watermark is None:
            return sa.text(query)  # within another one, its order would not count
        wanted = sa.text(f"({query}\n) AS rows_")
    statement = sa.select(sa.text("*")).select_from(wanted)
    seen = before.seen if before else params.since
    if params.watermark and seen is not None:
        # Without a type, so that the database makes it one of the column's.
        since = sa.bindparam("since", seen, type_=sa.types.NullType())
        column: sa.ColumnClause[Any] = sa.column(params.watermark)
        statement = statement.where(column >= since if before else column > since)
    order = ([params.watermark] if params.watermark else []) + keys
    return statement.order_by(*(sa.column(name) for name in order))
