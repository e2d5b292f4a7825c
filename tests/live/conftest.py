"""The running Airflow that the tests below this folder look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import Live


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """`make demo STAY=1`, once for all tests that look at the real thing; it stays up for them."""
    found = Live(tmp_path_factory.mktemp("live"))
    found.write_pipelines()
    found.start("demo", "--stay")
    try:
        found.wait_for((found.home / "demo.json").is_file, "demo.json", seconds=400)
        yield found
    finally:
        found.stop()
