"""What every test gets: an Airflow home of its own, and a small pipeline on demand."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

PROJECT = Path(__file__).parent.parent

# Airflow reads these when it is imported, so they are set before any test is collected.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for name in [name for name in os.environ if name.startswith(("AIRFLOW", "PERENNIAL_"))]:
    if name not in ("PERENNIAL_TEST_DATA", "PERENNIAL_SCREENSHOTS"):
        del os.environ[name]
_airflow = tempfile.TemporaryDirectory(prefix="airflow-of-tests-")
os.environ |= {
    "AIRFLOW_HOME": _airflow.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "PERENNIAL_HOME": f"{_airflow.name}/perennial",
}

from tests import s3  # noqa: E402
from tests.small import Small, write_small  # noqa: E402

LIVE = "tests/live/"
STARTS_AIRFLOW = ("faults", "local", "loop")


class OneAirflow(LoadFileScheduling):
    """One file after the other to whichever process is free; tests/live as one file."""

    def _split_scope(self, nodeid: str) -> str:
        return LIVE if nodeid.startswith(LIVE) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneAirflow:
    """Who looks at the running Airflow does so in one process: it is started once."""
    return OneAirflow(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Airflow goes first: it takes longest, and two processes share the tests."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.nodeid.startswith(LIVE):
        return 0
    return 1 if item.path.parent.name in STARTS_AIRFLOW else 2


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    """A real local S3 server for the tests of one file."""
    with s3.running() as address:
        yield address


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Small]:
    """Write a small two-class pipeline into the test's folder."""

    def make(**changes: object) -> Small:
        return write_small(tmp_path, **changes)

    return make
