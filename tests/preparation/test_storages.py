"""Prepared rows in a storage: read again exactly as they were, or refused."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from urllib.parse import quote

import numpy as np
import pytest

from pipeline_tasks import storages
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ArtifactError, ConfigError, DataError, TransientError
from pipeline_tasks.data import rows
from pipeline_tasks.sections.settings import Part
from tests.server import PROJECT
from tests.small import write_small
from tests.sources.postgres import PASSWORD, running

SIZES = {"train": 25_000, "validation": 10, "test": 1, "recent": 0}


def made(count: int) -> rows.Arrays:
    """Every kind of column, with what is missing, odd and long."""
    random = np.random.default_rng(count)
    numbers = random.normal(size=count).astype(np.float32)
    numbers[::7] = np.nan
    odd = [np.inf, -np.inf, 1e-45, 3.4e38, 0.1]
    numbers[1 : 1 + len(odd)] = odd[: max(0, count - 1)]
    texts = np.array(["", "red", 'it\'s 100% "blue"\n;--', "é😀", " "])
    prose = np.empty(count, dtype=object)
    prose[:] = [np.str_("long and longer " * (index % 3)) for index in range(count)]
    return {
        "width": numbers,
        'a "name": with %s (signs)': -numbers,
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


@pytest.fixture
def table(storage):
    """Asks the table of a SQL storage, as somebody else would."""
    if storage.kind != "sql":
        pytest.skip("this storage has no tables")
    import sqlalchemy as sa

    from pipeline_tasks.sources.sql import address

    settings = storage.settings()
    engine = sa.create_engine(address(settings.get("url"), settings.get("connection")))

    def ask(text: str) -> list[tuple]:
        with engine.begin() as connected:
            result = connected.execute(sa.text(text.format(t=settings["table"])))
            return [tuple(row) for row in result] if result.returns_rows else []

    yield ask
    engine.dispose()


SMALL = {"train": 30, "test": 5}


def few(*, seed: int = 0) -> dict[str, rows.Arrays]:
    return {name: made(count + seed) for name, count in SMALL.items()}


def test_a_table_tells_split_run_and_digest_and_keeps_equal_rows_once(tmp_path, pipeline, table):
    kept(tmp_path / "1", pipeline, few(), run="first")
    kept(tmp_path / "2", pipeline, few(), run="second")
    told = table("SELECT pipeline, run, split, rows, digest FROM {t}_runs ORDER BY run, split")
    [digest] = {row[-1] for row in told}
    assert told == [
        ("small", run, split, SMALL[split], digest)
        for run in ("first", "second")
        for split in ("test", "train")
    ]
    counted = table("SELECT _split, count(*) FROM {t} GROUP BY _split ORDER BY _split")
    assert counted == [("test", 5), ("train", 30)]
    [(missing,)] = table("SELECT count(*) FROM {t} WHERE width IS NULL AND _split = 'train'")
    assert missing == np.isnan(few()["train"]["width"]).sum()


def test_a_run_that_is_repeated_replaces_its_rows_and_no_others(tmp_path, pipeline, table):
    first = kept(tmp_path / "1", pipeline, few(), run="first")
    kept(tmp_path / "2", pipeline, few(seed=1), run="second")
    kept(tmp_path / "3", pipeline, few(seed=2), run="second")
    assert len(table("SELECT DISTINCT _digest FROM {t}")) == 2
    kept(tmp_path / "4", pipeline, few(), run="second")
    assert len(table("SELECT DISTINCT _digest FROM {t}")) == 1
    assert len(storages.read(first, "train")["width"]) == 30


KILLED = """
import sys, time
from pathlib import Path
from pipeline_tasks import config, storages
from pipeline_tasks.storages import sql
slices = sql._slices
def slow(*given):
    for some in slices(*given):
        yield some
        print("written", flush=True)
        time.sleep(60)
sql._slices = slow
storages.keep(config.load(Path(sys.argv[1])), "run", Path(sys.argv[2]))
"""


def test_a_table_that_is_half_written_is_never_seen(tmp_path, pipeline, table):
    folder = tmp_path / "prepared"
    folder.mkdir()
    for name, values in few().items():
        rows.write_arrays(folder / f"{name}.npz", values)
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "small.yaml"), str(folder)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    # The first part is in the table by the time that the second is asked for.
    assert [writer.stdout.readline() for _ in range(1)] == ["written\n"]
    for _ in range(2):
        with pytest.raises(Exception, match=r"no such table|does not exist"):
            table("SELECT count(*) FROM {t}")
        writer.kill()
        writer.wait()
    writer.stdout.close()
    storages.keep(pipeline, "run", folder)
    assert table("SELECT count(*) FROM {t}") == [(35,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {t} SET width = 7 WHERE _split = 'train' AND _row = 3",
        "UPDATE {t} SET colour = NULL WHERE colour = 'red'",
        "DELETE FROM {t} WHERE _split = 'train' AND _row = 29",
    ],
)
def test_rows_that_were_altered_are_refused_and_mended_by_the_next_run(
    tmp_path, pipeline, table, change
):
    folder = kept(tmp_path / "prepared", pipeline, few())
    table(change)
    with pytest.raises(ArtifactError, match="is not what was prepared"):
        storages.read(folder, "train")
    kept(tmp_path / "again", pipeline, few())
    assert len(storages.read(folder, "train")["width"]) == 30


def test_a_table_that_is_gone_or_has_other_columns_is_told(tmp_path, pipeline, table):
    folder = kept(tmp_path / "prepared", pipeline, few())
    others = {name: {"other": values["width"]} for name, values in few().items()}
    with pytest.raises(DataError, match="name another table"):
        kept(tmp_path / "others", pipeline, others)
    table("DROP TABLE {t}")
    with pytest.raises(ArtifactError, match="cannot be read from storage sql") as caught:
        storages.read(folder, "train")
    assert "force" in caught.value.fix
    assert PASSWORD not in str(caught.value)


def test_a_text_that_the_database_cannot_keep_is_told(tmp_path, pipeline, storage, table):
    if "url" in storage.settings():
        pytest.skip("SQLite keeps it")
    with pytest.raises(DataError, match="NUL"):
        kept(tmp_path / "prepared", pipeline, {"train": {"a": np.array(["a\0b"])}})


def test_a_password_is_in_no_file_and_no_message(small, monkeypatch, tmp_path, port):
    url = f"postgresql://me:{quote(PASSWORD)}@127.0.0.1:{port}/postgres"
    with pytest.raises(ConfigError) as caught:
        small(storage={"kind": "sql", "url": url, "table": "t"}).run()
    assert quote(PASSWORD) not in str(caught.value)
    for wrong, kind in (
        (f"postgresql://me:not-{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres", DataError),
        (f"postgresql://me:{quote(PASSWORD, safe='')}@127.0.0.1:9/postgres", TransientError),
    ):
        monkeypatch.setenv("WHERE", wrong)
        config = small(storage={"kind": "sql", "url": "${WHERE}", "table": "t"}).run().config
        with pytest.raises(kind) as caught:
            kept(tmp_path / kind.__name__, config, few())
        assert PASSWORD not in str(caught.value)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """What the small pipeline learns from arrays."""
    made = write_small(tmp_path_factory.mktemp("arrays"))
    return trained(made, made.steps(until="train"))


def trained(made, left) -> rows.Arrays:
    return rows.read_arrays(made.run().open(left["train"]) / "weights.npz")


def test_a_run_trains_from_its_storage_as_it_does_from_arrays(small, storage, weights):
    made = small(storage=storage.model_dump())
    left = made.steps(until="evaluate")
    assert not list(made.run().open(left["prepare"]).glob("*.npz"))
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.85
    found = trained(made, left)
    assert list(found) == list(weights)
    for name, values in weights.items():
        np.testing.assert_array_equal(values, found[name])


def test_memory_does_not_grow_with_the_rows(tmp_path, pipeline, storage):
    if storage.kind == "parquet" or "url" not in storage.settings():
        pytest.skip("one of them shows it")
    kept(tmp_path / "before", pipeline, {"train": {"width": made(10)["width"]}})
    peaks = []
    for count in (20_000, 60_000):
        arrays = {"train": {"width": np.arange(count, dtype=np.float32)}}
        tracemalloc.start()
        kept(tmp_path / str(count), pipeline, arrays)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_every_storage_is_tested_here():
    assert registry.known("storages") == ["parquet", "sql"]
