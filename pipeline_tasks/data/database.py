"""What is wrong with a database, as one of our errors, and without its password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from pipeline_tasks.core.errors import ConfigError, DataError, TransientError

if TYPE_CHECKING:
    import sqlalchemy as sa

PACKAGES = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
SETTLED = r"authentication failed|does not exist|no pg_hba\.conf entry|Access denied"


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


def check_file(url: sa.URL) -> None:
    """Raises DataError where SQLite would make an empty database, as there is none."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    if name and ":" not in name and not Path(name).is_file():
        fix = "put the file there, or mend source.url"
        raise DataError(f"{name}: there is no such file", expected="an SQLite database", fix=fix)


def primary_key(connected: sa.Connection, name: str, schema: str | None) -> list[str]:
    """The columns of a table's primary key, if it has one. Raises DataError without the table."""
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
    secrets = filter(None, map(str, [url.password or "", *url.query.values()]))
    for secret in [form(one) for one in secrets for form in (str, quote_plus, quote)]:
        text = text.replace(secret, "***")
    return text
