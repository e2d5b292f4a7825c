"""An artifact is there, whole, or not at all: in a folder, and in a bucket."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Store, store_at
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref
from tests import s3


@pytest.fixture(params=["folder", "s3"])
def machine(request, tmp_path, monkeypatch):
    """The store as machine number so-and-so sees it."""
    uri = str(tmp_path / "store")
    if request.param == "s3":
        uri = s3.bucket(request.getfixturevalue("s3_address"), monkeypatch)
    return lambda number=1: store_at(uri, tmp_path / f"machine {number}")


@pytest.fixture
def store(machine):
    return machine()


def write(store: Store, content: str = "one", **options):
    with store.write("p", "run:1+0", "thing", inputs={}, **options) as draft:
        (draft.folder / "part").mkdir()
        (draft.folder / "part" / "file.txt").write_text(content)
        draft.summary["letters"] = len(content)
    return draft.done()


def test_an_artifact_is_opened_by_its_reference(store, machine):
    ref = write(store)
    assert (store.open(ref) / "part" / "file.txt").read_text() == "one"
    assert (machine(2).open(ref) / "part" / "file.txt").read_text() == "one"
    assert ref.summary == {"letters": 3}


def test_a_step_that_fails_leaves_nothing(store, tmp_path):
    with pytest.raises(ZeroDivisionError), store.write("p", "run", "thing", inputs={}) as draft:
        (draft.folder / "file.txt").write_text("half")
        raise ZeroDivisionError
    assert not [path for path in tmp_path.rglob("*") if path.name == "file.txt"]
    with pytest.raises(ArtifactError, match="half-written"):
        store.open(Ref(pipeline="p", run="run", artifact="thing", digest="x"))


def test_a_second_write_replaces_the_first(store, machine):
    first, second = write(store, "one"), write(store, "two")
    for seen in (store, machine(2)):
        assert (seen.open(second) / "part" / "file.txt").read_text() == "two"
        with pytest.raises(ArtifactError, match="another artifact"):
            seen.open(first)


def test_an_artifact_is_found_by_its_fingerprint(store, machine):
    ref = write(store, fingerprint="f1")
    assert store.find("p", "f2") is None
    found = machine(2).find("p", "f1")
    assert found is not None
    assert found.reused
    assert found.digest == ref.digest
    write(store, "two")
    assert store.find("p", "f1") is None


def test_the_manifest_tells_what_the_artifact_came_from(store, machine):
    first = write(store)
    with store.write("p", "run", "next", inputs={"thing": first}, settings={"a": 1}) as draft:
        (draft.folder / "x").write_text("x")
    manifest = json.loads((machine(2).open(draft.done()) / "manifest.json").read_text())
    assert manifest["inputs"]["thing"]["digest"] == first.digest
    assert manifest["settings"] == {"a": 1}
    assert "tensorflow" in manifest["libraries"]


def test_equal_content_of_two_runs_keeps_two_manifests(store):
    refs = []
    for run in ("one", "two"):
        with store.write("p", run, "thing", inputs={}, settings=run) as draft:
            (draft.folder / "x").write_text("x")
        refs.append(draft.done())
    assert refs[0].digest == refs[1].digest
    found = [json.loads((store.open(ref) / "manifest.json").read_text()) for ref in refs]
    assert [one["settings"] for one in found] == ["one", "two"]


def champion(version: int) -> Champion:
    ref = Ref(pipeline="p", run="r", artifact="a", digest="d")
    return Champion(
        version=version,
        run="r",
        model=ref,
        evaluation=ref,
        prepared=ref,
        exported=ref,
        promoted_at="2026-01-01T00:00:00.000Z",
    )


def test_the_champion_moves_and_its_versions_stay(store, machine):
    assert store.champion("p") is None
    for version in (1, 2, 1):
        with store.lock("p"):
            store.set_champion("p", champion(version))
        assert machine(2).champion("p") == champion(version)
    assert machine(2).version("p", 2) == champion(2)
    assert machine(2).version("p", 3) is None


def entry(name: str) -> HistoryEntry:
    return HistoryEntry(at="2026-01-01T00:00:00.000Z", event="test", run=name, by="me", reasons=())


def test_what_is_recorded_is_read_in_its_order(store, machine):
    assert store.history("p") == []
    for number in range(5):
        machine(number % 2).record("p", entry(str(number)))
    assert [one.run for one in machine(3).history("p")] == list("01234")


def test_of_twenty_that_record_at_once_nobody_is_lost(machine):
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: machine(number).record("p", entry(str(number))), range(20)))
    assert sorted(int(one.run) for one in machine().history("p")) == list(range(20))


def test_one_machine_after_the_other_holds_the_lock(machine):
    """Each reads and writes back one more, which is lost unless the other waits."""

    def one_more(number: int) -> None:
        mine = machine(number)
        for _ in range(3):
            with mine.lock("p"):
                before = mine.champion("p")
                mine.set_champion("p", champion(before.version + 1 if before else 1))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one_more, range(2)))
    assert machine().champion("p").version == 6


def test_observations_reach_other_machines_and_grow(machine):
    one, two = machine(1), machine(2)
    path = one.observations("p") / "predictions" / "2026-01-01" / "mine.jsonl"
    path.parent.mkdir(parents=True)
    for text in ("first\n", "first\nsecond\n"):
        path.write_text(text)
        one.publish_observations("p")
        assert one.publish_observations("p") == 0
        two.fetch_observations("p")
        assert two.fetch_observations("p") == 0
        seen = two.observations("p") / "predictions" / "2026-01-01"
        assert [file.name for file in seen.iterdir()] == ["mine.jsonl"]
        assert (seen / "mine.jsonl").read_text() == text


def test_the_latest_artifact_is_the_one_that_was_said_to_be_last(store, machine):
    assert store.latest("p", "thing") is None
    for content in ("one", "two"):
        ref = write(store, content)
        store.set_latest(ref)
        assert machine(2).latest("p", "thing") == ref
