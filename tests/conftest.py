"""What every test gets: an Airflow home of its own, and a small pipeline on demand."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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

from tests.live import Live  # noqa: E402
from tests.small import Small, write_small  # noqa: E402

STARTS_AIRFLOW = ("browser", "faults", "local", "loop")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Airflow goes first: these files take longest, and two processes share them."""
    items.sort(key=lambda item: item.path.parent.name not in STARTS_AIRFLOW)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Small]:
    """Write a small two-class pipeline into the test's folder."""

    def make(**changes: object) -> Small:
        return write_small(tmp_path, **changes)

    return make


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """`make demo STAY=1`, once for all tests that look at the real thing; it stays up."""
    found = Live(tmp_path_factory.mktemp("live"))
    found.write_pipelines()
    found.start("demo", "--stay")
    try:
        found.wait_for((found.home / "demo.json").is_file, "demo.json", seconds=400)
        yield found
    finally:
        found.stop()
