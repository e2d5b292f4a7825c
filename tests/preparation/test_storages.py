"""Prepared rows in a storage: read again exactly as they were, or refused."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from urllib.parse import quote

import numpy as np
import pytest

from pipeline_tasks import rows, storages
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ArtifactError, ConfigError, DataError, TransientError
from pipeline_tasks.settings import Part
from tests.server import PROJECT
from tests.small import write_small
from tests.sources.postgres import PASSWORD, running

SIZES = {"train": 25_000, "validation": 10, "test": 1, "recent": 0}


def made(count: int) -> rows.Arrays:
    """Every kind of column, with what is missing, odd and long."""
    random = np.random.default_rng(count)
    numbers = random.normal(size=count).astype(np.float32)
    numbers[::7] = np.nan
    numbers[1::50] = [np.inf, -np.inf, 1e-45, 3.4e38, 0.1][:1] * len(numbers[1::50])
    texts = np.array(["", "red", 'it\'s 100% "blue"\n;--', "é😀", " "])
    prose = np.empty(count, dtype=object)
    prose[:] = [np.str_("long and longer " * (index % 3)) for index in range(count)]
    return {
        "width": numbers,
        'a "name": with %s (signs)': numbers * 2,
        "colour": texts[random.integers(0, len(texts), count)].astype("<U40"),
        "story": prose,
        "scan": random.integers(0, 255, (count, 3, 2)).astype(np.float32),
        rows.LABEL: random.integers(0, 3, count),
    }


@pytest.fixture(scope="module")
def arrays():
    return {name: made(count) for name, count in SIZES.items()}


@pytest.fixture(scope="module")
def port():
    with running() as port:
        yield port


@pytest.fixture(params=["parquet", "sqlite", "postgres"])
def storage(request, tmp_path, monkeypatch):
    """A storage of each kind, with a table of its own."""
    if request.param == "parquet":
        return Part(kind="parquet")
    if request.param == "sqlite":
        return Part(kind="sql", url=f"sqlite:///{tmp_path / 'rows.db'}", table="prepared")
    port = request.getfixturevalue("port")
    uri = f"postgres://me:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres?connect_timeout=5"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", uri)
    return Part(kind="sql", connection="warehouse", table=f"t{tmp_path.name[-40:].lower()}")


@pytest.fixture
def pipeline(small, storage):
    return small(storage=storage.model_dump()).run().config


def kept(folder, config, arrays, run="run"):
    """The folder of an artifact whose arrays the storage has."""
    folder.mkdir()
    for name, values in arrays.items():
        rows.write_arrays(folder / f"{name}.npz", values)
    storages.keep(config, run, folder)
    return folder


def test_rows_are_read_again_exactly_as_they_were(tmp_path, pipeline, arrays):
    folder = kept(tmp_path / "prepared", pipeline, arrays)
    assert not list(folder.glob("*.npz"))
    for part, wanted in arrays.items():
        found = storages.read(folder, part)
        assert list(found) == list(wanted)
        for name, values in wanted.items():
            assert found[name].dtype == values.dtype
            assert found[name].shape == values.shape
            assert type(found[name].tolist()) is list
            np.testing.assert_array_equal(found[name], values)
    assert list(storages.read(folder, "train", only=["story"])) == ["story"]
    assert storages.has(folder, "recent")
    assert not storages.has(folder, "latest")
