"""A small pipeline of its own for each test: a CSV file, a YAML file, a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.small import Small, write_small


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Small]:
    """Write a small two-class pipeline into the test's folder."""

    def make(**changes: object) -> Small:
        return write_small(tmp_path, **changes)

    return make
