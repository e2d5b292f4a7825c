"""Rows of a database: a table or a query, of any database that SQLAlchemy knows."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import quote, quote_plus

from pydantic import BeforeValidator, Field, model_validator

from pipeline_tasks import tables
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ConfigError, DataError, TransientError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.sources import connection, expand, hide, refuse_secrets
from pipeline_tasks.sources.parquet import Parts, of_arrow, plain

if TYPE_CHECKING:
    import pandas as pd
    import sqlalchemy as sa

log = logging.getLogger(__name__)

WATERMARK = "watermark.json"
CHUNK_ROWS = 10_000
DRIVERS = {"postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2"}
PACKAGES = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
SETTLED = r"authentication failed|does not exist|no pg_hba\.conf entry|Access denied"
# What SQLAlchemy would take for a parameter; here it is only text.
PARAMETER = r"(?<![:\w\\]):([\w$]+)(?![:\w$])"
Mark = Annotated[
    int | float | str, BeforeValidator(lambda mark: str(mark) if isinstance(mark, date) else mark)
]


class Params(Frozen):
    """Which database, and what of it.

    source: {kind: sql, connection: shop, table: public.orders, watermark: changed_at,
             since: "2026-01-01"}
    source: {kind: sql, url: "postgresql://me:${SHOP_PASSWORD}@db/shop", query: "SELECT ..."}
    """

    url: str | None = Field(None, description="Of SQLAlchemy; ${NAME} is a variable.")
    connection: str | None = Field(
        None, description="A connection of Airflow, or AIRFLOW_CONN_<NAME> in the environment."
    )
    table: str | None = Field(None, description="A table or view, such as orders or shop.orders.")
    query: str | None = Field(
        None, pattern=r"(?i)^\s*(select|with)\b", description="A SELECT; its rows are taken as is."
    )
    watermark: str | None = Field(None, description="A column that only grows: what rows follow.")
    since: Mark | None = Field(None, description="Only rows whose watermark is greater.")

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, content: object) -> object:
        return refuse_secrets(content)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.url is None) == (self.connection is None):
            raise ValueError("needs either `url` or `connection`")
        if (self.table is None) == (self.query is None):
            raise ValueError("needs either `table` or `query`")
        if self.since is not None and self.watermark is None:
            raise ValueError("`since` needs `watermark: <column>`")
        return self


def digest(params: Params) -> str:
    """The digest of the rows, whatever their order.

    The database has to send every row once for this, as for fetching; nothing is kept.
    """
    total = 0
    with _rows(params) as (names, chunks):
        for chunk in chunks:
            for row in chunk:
                content = repr([plain(value) for value in row]).encode()
                total += int.from_bytes(hashlib.sha256(content).digest())
    return hashlib.sha256(f"{names} {total}".encode()).hexdigest()


def fetch(params: Params, folder: Path) -> int:
    """Keep the rows as Parquet, chunk by chunk; with a watermark, the greatest one seen as well.

    In the order of the watermark; else of a table's primary key, a query's own, or the database's.
    Decimal numbers, dates and moments are kept as text, exactly; JSON as its text.
    """
    count, seen = 0, None
    with _rows(params) as (names, chunks), Parts(folder, names) as parts:
        place = names.index(mark) if (mark := params.watermark) in names else None
        for chunk in chunks:
            parts.write([[plain(value) for value in column] for column in zip(*chunk, strict=True)])
            count += len(chunk)
            if place is not None:
                marks = [row[place] for row in chunk if row[place] is not None]
                seen = max(marks if seen is None else [*marks, seen], default=None)
            log.info("%s rows fetched", count)
    if params.watermark:
        told = {"column": params.watermark, "since": params.since, "seen": plain(seen)}
        (folder / WATERMARK).write_text(json.dumps(told, indent=1))
        log.info("the greatest %s is %s; a later `since` starts there", params.watermark, seen)
    return count


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The declared columns in their declared types.

    Raises DataError that names the row, column and value that cannot be.
    """
    import pandas as pd
    from pyarrow import parquet

    frames, before = list[pd.DataFrame](), 0
    for path in _kept(folder):
        table = parquet.read_table(path)
        tables.check_names(table.column_names, config, _title(params))
        frames.append(of_arrow(table, config, partial(_place, params, before)))
        before += len(table)
    if not before:
        raise tables.empty(_title(params), "no row")
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def undeclared(params: Params, folder: Path, config: PipelineConfig) -> list[str]:
    """Columns of the result that the pipeline file does not declare."""
    from pyarrow import parquet

    return tables.undeclared(parquet.read_schema(_kept(folder)[0]).names, config)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0): its number in the order it was fetched in."""
    return _place(params, 0, row)


def _place(params: Params, before: int, row: int) -> str:
    order = f", ordered by {params.watermark}" if params.watermark else ""
    return f"{_title(params)} row {before + row} (from 0{order})"


def _title(params: Params) -> str:
    return f"table {params.table}" if params.table else "the query's result"


def _kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("rows-*.parquet"))


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
def _rows(params: Params) -> Iterator[tuple[list[str], Iterator[Sequence[sa.Row[Any]]]]]:
    """The result's column names, and its rows in chunks. What the query changes is not kept."""
    import sqlalchemy as sa

    url = address(params.url, params.connection)
    with told(url, "connecting"):
        _check_file(url)
        connected = sa.create_engine(url, poolclass=sa.NullPool).connect()
    with connected, told(url, "reading"):
        streamed = {"stream_results": True, "yield_per": CHUNK_ROWS}
        result = connected.execute(_statement(params, connected), execution_options=streamed)
        names = list(result.keys())
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"{_title(params)} has the column {repeated[0]} twice",
                expected="a name of its own for each column",
                fix="name them in the query: SELECT a.id AS a_id, b.id AS b_id ...",
            )
        yield names, result.partitions(CHUNK_ROWS)


def _check_file(url: sa.URL) -> None:
    """SQLite would make an empty database where there is none."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    if name and ":" not in name and not Path(name).is_file():
        fix = "put the file there, or mend source.url"
        raise DataError(f"{name}: there is no such file", expected="an SQLite database", fix=fix)


def _statement(params: Params, connected: sa.Connection) -> sa.Executable:
    import sqlalchemy as sa

    keys: list[str] = []
    if params.table is not None:
        schema, _, name = params.table.rpartition(".")
        keys = _primary_key(connected, name, schema or None)
        wanted: sa.FromClause | sa.TextClause = sa.table(name, schema=schema or None)
    else:
        query = re.sub(PARAMETER, r"\\:\1", (params.query or "").rstrip().rstrip(";"))
        if params.watermark is None:
            return sa.text(query)  # within another one, its order would not count
        wanted = sa.text(f"({query}\n) AS rows_")
    statement = sa.select(sa.text("*")).select_from(wanted)
    if params.since is not None:
        # Without a type, so that the database makes it one of the column's.
        since = sa.bindparam("since", params.since, type_=sa.types.NullType())
        statement = statement.where(sa.column(params.watermark or "") > since)
    order = ([params.watermark] if params.watermark else []) + keys
    return statement.order_by(*(sa.column(name) for name in order))


def _primary_key(connected: sa.Connection, name: str, schema: str | None) -> list[str]:
    import sqlalchemy as sa

    inspector = sa.inspect(connected)
    if inspector.has_table(name, schema):
        return list(inspector.get_pk_constraint(name, schema)["constrained_columns"])
    known = sorted(inspector.get_table_names(schema) + inspector.get_view_names(schema))
    raise DataError(
        f"the database has no table {schema + '.' if schema else ''}{name}",
        expected=f"one of {', '.join(known[:20]) or 'none: it has no table'}",
        fix="mend source.table, or look at what this user may see",
    )


@contextmanager
def told(url: sa.URL, doing: str, section: str = "source") -> Iterator[None]:
    """What the database says against it, as one of our errors, without the password."""
    import sqlalchemy as sa

    try:
        yield
    except (ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
        raise _no_driver(url, error) from None
    except sa.exc.DBAPIError as error:
        text = _hidden(str(error.orig).strip(), url)
        is_lasting = re.search(SETTLED, text) or not _may_pass(error, url, doing)
    except sa.exc.SQLAlchemyError as error:
        text, is_lasting = _hidden(str(error), url), True
    else:
        return
    # Raised out here, so that the driver's own error, which may tell more, does not come along.
    if is_lasting:
        fix = f"mend {section} in the pipeline file, or what this user may do"
        raise DataError(f"{_shown(url)}: {doing}: {text}", expected="rows", fix=fix)
    raise TransientError(f"{_shown(url)}: {doing}: {text}", fix="look whether the database is up")


def _may_pass(error: sa.exc.DBAPIError, url: sa.URL, doing: str) -> bool:
    import sqlalchemy as sa

    if url.get_backend_name() == "sqlite":
        return "locked" in str(error.orig)
    kinds = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.IntegrityError)
    return doing == "connecting" or error.connection_invalidated or isinstance(error, kinds)


def _no_driver(url: sa.URL, error: Exception) -> ConfigError:
    name = getattr(error, "name", None) or url.drivername
    return ConfigError(
        f"{_shown(url)}: {name}, which {url.drivername} needs, is not installed",
        expected="a driver that SQLAlchemy knows, such as postgresql+psycopg2 or sqlite",
        fix=f"install {PACKAGES.get(name, 'the package of ' + name)} where the pipeline runs, or "
        "mend the beginning of the URL",
    )


def _shown(url: sa.URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)


def _hidden(text: str, url: sa.URL) -> str:
    secrets = list(filter(None, map(str, [url.password or "", *url.query.values()])))
    return hide(text, [form(one) for one in secrets for form in (str, quote_plus, quote)])
