"""A table of a database, of any that SQLAlchemy knows: what everybody can ask."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline_tasks import storages
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.data import array_slices, rows
from pipeline_tasks.data.database import told
from pipeline_tasks.sources.sql import Database, address

if TYPE_CHECKING:
    import sqlalchemy as sa

log = logging.getLogger(__name__)

SECTION = "storage"
WAIT_SECONDS = 60
DIGEST, PART, ROW = "_digest", "_split", "_row"


class Params(Database):
    """Which table; it is made when it is not there.

    Its rows have `_split` (train, validation, test, recent), `_row` (their place there), `_digest`
    (of all rows that were prepared together), the columns as clients send them, NULL where missing,
    images as their bytes (float32), and `_label`. Nothing is overwritten: the table <table>_runs
    says which digest a run prepared, and when. Rows of the same digest are kept once.

    storage: {kind: sql, connection: warehouse, table: ml.churn_prepared}
    storage: {kind: sql, url: "postgresql://me:${WAREHOUSE_PASSWORD}@db/ml", table: churn}
    """

    table: str = Field(description="The table's name, such as churn or ml.churn; its schema is.")


def keep(params: Params, folder: Path, kept: storages.Kept, run: tuple[str, str]) -> None:
    """Write all rows in one transaction, chunk by chunk.

    When two runs write the same rows at once, one of them raises TransientError, and is retried.
    """
    with _connected(params, "writing") as connected:
        tables = _Tables(params, next(iter(kept.parts.values())))
        tables.make(connected)
        tables.forget(connected, kept.digest)
        for name in kept.parts:
            for some in _slices(folder / f"{name}.npz", kept.digest, name):
                connected.execute(tables.rows.insert(), some)
        tables.record(connected, run, kept)
    counts = ", ".join(f"{name} {part.rows}" for name, part in kept.parts.items())
    log.info("prepared rows are in table %s with _digest %s: %s", params.table, kept.digest, counts)


def read(
    params: Params, folder: Path, kept: storages.Kept, part: str, names: Sequence[str]
) -> rows.Arrays:
    """These columns of one part, chunk by chunk; what is not there is not filled in."""
    import sqlalchemy as sa

    known, start = kept.parts[part], 0
    arrays = storages.empty(known, names)
    table = _Tables(params, known).rows
    wanted = (
        sa.select(*(table.c[name] for name in names))
        .where(table.c[DIGEST] == kept.digest, table.c[PART] == part)
        .order_by(table.c[ROW])
        .limit(known.rows)
    )
    streamed = {"stream_results": True, "yield_per": storages.SLICE_ROWS}
    with _connected(params, "reading") as connected:
        for chunk in connected.execute(wanted, execution_options=streamed).partitions():
            for name, values in zip(names, zip(*chunk, strict=True), strict=True):
                found = storages.array(values, known.columns[name])
                arrays[name][start : start + len(chunk)] = found
            start += len(chunk)
    return {name: values[:start] for name, values in arrays.items()}


class _Tables:
    """The table of rows, and beside it the table of runs."""

    def __init__(self, params: Params, part: storages.Part) -> None:
        import sqlalchemy as sa

        schema, _, name = params.table.rpartition(".")
        known = sa.MetaData(schema=schema or None)
        types: dict[str, Any] = {"f": sa.REAL, "i": sa.BigInteger, "U": sa.Text, "O": sa.Text}
        self.rows = sa.Table(
            name,
            known,
            sa.Column(DIGEST, sa.String(64), primary_key=True),
            sa.Column(PART, sa.String(32), primary_key=True),
            sa.Column(ROW, sa.BigInteger, primary_key=True, autoincrement=False),
            *(
                sa.Column(key, sa.LargeBinary if facts.shape else types[facts.letter])
                for key, facts in part.columns.items()
            ),
        )
        self.runs = sa.Table(
            f"{name}_runs",
            known,
            sa.Column("pipeline", sa.String(63), primary_key=True),
            sa.Column("run", sa.String(250), primary_key=True),
            sa.Column("split", sa.String(32), primary_key=True),
            sa.Column("rows", sa.BigInteger, nullable=False),
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("prepared_at", sa.String(24), nullable=False),
        )

    def make(self, connected: sa.Connection) -> None:
        """Make the tables. Raises DataError when there is one with other columns."""
        import sqlalchemy as sa

        self.rows.metadata.create_all(connected)
        there = sa.inspect(connected).get_columns(self.rows.name, self.rows.schema)
        wanted, found = set(self.rows.c.keys()), {str(column["name"]) for column in there}
        if wanted != found:
            raise DataError(
                f"table {self.rows.fullname} has the columns {', '.join(sorted(found))}",
                expected=", ".join(sorted(wanted)),
                fix="name another table in storage.table: its columns are the pipeline's",
            )

    def forget(self, connected: sa.Connection, digest: str) -> None:
        """Remove these rows, if they are there."""
        connected.execute(self.rows.delete().where(self.rows.c[DIGEST] == digest))

    def record(self, connected: sa.Connection, run: tuple[str, str], kept: storages.Kept) -> None:
        """Say that the run prepared these rows; what it had prepared before goes."""
        import sqlalchemy as sa

        mine = sa.and_(self.runs.c.pipeline == run[0], self.runs.c.run == run[1])
        before = connected.scalars(sa.select(self.runs.c.digest).where(mine).distinct()).all()
        connected.execute(self.runs.delete().where(mine))
        line = {"pipeline": run[0], "run": run[1], "digest": kept.digest}
        line["prepared_at"] = clock.text(clock.now())
        lines = [line | {"split": name, "rows": part.rows} for name, part in kept.parts.items()]
        connected.execute(self.runs.insert(), lines)
        used = set(connected.scalars(sa.select(self.runs.c.digest).distinct()))
        for digest in set(before) - used:
            self.forget(connected, digest)


def _slices(path: Path, digest: str, part: str) -> Iterator[list[dict[str, Any]]]:
    """Rows as the table takes them, numbered from 0."""
    start = 0
    with array_slices.columns(path) as columns:
        for some in array_slices.slices(columns, storages.SLICE_ROWS):
            values = [storages.plain(column) for column in some.values()]
            yield [
                {DIGEST: digest, PART: part, ROW: row} | dict(zip(some, line, strict=True))
                for row, line in enumerate(zip(*values, strict=True), start)
            ]
            start += len(values[0])


@contextmanager
def _connected(params: Params, doing: Literal["writing", "reading"]) -> Iterator[sa.Connection]:
    """A connection within one transaction: others see all that was done in it, or nothing."""
    import sqlalchemy as sa

    url = address(params.url, params.connection, SECTION)
    with told(url, "connecting", SECTION):
        is_sqlite = url.get_backend_name() == "sqlite"
        waiting = {"timeout": WAIT_SECONDS} if is_sqlite else {}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=waiting)
        if is_sqlite and doing == "writing":
            _let_sqlite_begin(engine)
        connected = engine.connect()
    try:
        with connected, told(url, doing, SECTION), connected.begin():
            yield connected
    except ValueError as error:  # a driver's own, about a text that its database cannot keep
        fix = "correct such values, or leave `storage` out"
        raise DataError(f"table {params.table}: {doing}: {error}", fix=fix) from None


def _let_sqlite_begin(engine: sa.Engine) -> None:
    """Its driver would begin a transaction at the first row only, after tables have been made."""
    import sqlalchemy as sa

    @sa.event.listens_for(engine, "connect")
    def leave_it_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
