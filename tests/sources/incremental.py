"""A small pipeline whose rows are in a database that grows, and what it asks of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import yaml

from pipeline_tasks import loop
from pipeline_tasks.core.values import Ref
from pipeline_tasks.sources import sql
from tests.small import Small


@dataclass
class Growing:
    """The pipeline; its table is `orders`, with the columns of the small pipeline and `at`."""

    small: Small

    def settings(self, **changes: object) -> None:
        """Change the source in the pipeline's file."""
        content = yaml.safe_load(self.small.yaml.read_text())
        content["source"] |= changes
        content["source"] = {key: value for key, value in content["source"].items() if value}
        self.small.yaml.write_text(yaml.safe_dump(content, sort_keys=False))

    def execute(self, *statements: str) -> None:
        source = self.small.run().config.source.settings()
        url = sql.address(source.get("url"), source.get("connection"))
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connected:
            for statement in statements:
                connected.exec_driver_sql(statement)

    def insert(self, *rows: tuple[int, str]) -> None:
        """Rows of a number, which is the width, too, and a moment."""
        values = ", ".join(f"({n}, {n / 100}, 0.5, 'red', {n % 2}, '{at}')" for n, at in rows)
        self.execute(f"INSERT INTO orders (id, width, height, colour, kind, at) VALUES {values}")

    def fetched(self, run_id: str, **changes: object) -> tuple[Ref, list[float], list[int]]:
        """What a run's ingest left: its reference, the numbers in it, and how many each fetch had.

        The rows are checked as well, as in every run.
        """
        left = self.small.steps(run_id, until="check", **changes)
        run = self.small.run()
        folder = run.open(left["ingest"])
        told = json.loads((folder / "watermark.json").read_text())
        return left["ingest"], self.numbers(left["check"]), told["fetched"]

    def numbers(self, checked: Ref) -> list[float]:
        import pandas as pd

        frame = pd.read_parquet(self.small.run().open(checked) / "rows.parquet")
        return [round(width * 100) for width in frame["width"]]

    def ingest(self, run_id: str, **changes: object) -> Ref:
        """Only the first step of a run."""
        return loop.function("ingest")(self.small.run(run_id, **changes))


@contextmanager
def asked() -> Iterator[list[Any]]:
    """The values that selects from the table compare with: none for one that asks for all."""
    found: list[Any] = []

    def note(connection, cursor, statement, parameters, *_):
        if "FROM orders" in statement:
            values = parameters.values() if isinstance(parameters, dict) else parameters
            found.append((">=" in statement, *values))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


@contextmanager
def sent() -> Iterator[list[int]]:
    """How many rows the database has sent for each question about the table's rows."""
    found: list[int] = []

    class Counted(sql.watermark.Progress):
        def new(self, rows):
            found[-1] += len(rows)
            return super().new(rows)

        def __init__(self, *arguments):
            found.append(0)
            super().__init__(*arguments)

    whole, sql.watermark.Progress = sql.watermark.Progress, Counted
    try:
        yield found
    finally:
        sql.watermark.Progress = whole


COLUMNS = "(id integer PRIMARY KEY, width float, height float, colour text, kind integer, at {})"
FIRST = [(n, f"2026-01-0{n} 00:00:00") for n in (1, 2, 3, 4)]
