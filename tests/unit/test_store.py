"""An artifact is there, whole, or not at all."""

from __future__ import annotations

import json

import pytest

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Store


def write(store: Store, content: str = "one", **options):
    with store.write("p", "run:1+0", "thing", inputs={}, **options) as draft:
        (draft.folder / "part").mkdir()
        (draft.folder / "part" / "file.txt").write_text(content)
        draft.summary["letters"] = len(content)
    return draft.done()


def test_an_artifact_is_opened_by_its_reference(tmp_path):
    store = Store(tmp_path)
    ref = write(store)
    assert (store.open(ref) / "part" / "file.txt").read_text() == "one"
    assert ref.summary == {"letters": 3}


def test_a_step_that_fails_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.write("p", "run", "thing", inputs={}) as draft:
        (draft.folder / "file.txt").write_text("half")
        raise ZeroDivisionError
    assert list((tmp_path / "p" / "runs" / "run").iterdir()) == []


def test_a_second_write_replaces_the_first(tmp_path):
    store = Store(tmp_path)
    first, second = write(store, "one"), write(store, "two")
    assert (store.open(second) / "part" / "file.txt").read_text() == "two"
    with pytest.raises(ArtifactError, match="another artifact"):
        store.open(first)


def test_an_artifact_without_a_manifest_is_never_opened(tmp_path):
    store = Store(tmp_path)
    ref = write(store)
    (store.open(ref) / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="half-written"):
        store.open(ref)


def test_an_artifact_with_a_missing_file_is_never_opened(tmp_path):
    store = Store(tmp_path)
    ref = write(store)
    (store.open(ref) / "part" / "file.txt").unlink()
    with pytest.raises(ArtifactError, match=r"file\.txt"):
        store.open(ref)


def test_an_altered_artifact_is_never_opened(tmp_path):
    store = Store(tmp_path)
    ref = write(store)
    (store.open(ref) / "part" / "file.txt").write_text("0ne")
    with pytest.raises(ArtifactError, match="not what its manifest says"):
        store.open(ref)


def test_an_artifact_is_found_by_its_fingerprint_while_it_is_whole(tmp_path):
    store = Store(tmp_path)
    ref = write(store, fingerprint="f1")
    assert store.find("p", "f2") is None
    found = store.find("p", "f1")
    assert found is not None
    assert found.reused
    assert found.digest == ref.digest
    (store.open(ref) / "part" / "file.txt").write_text("0ne")
    assert store.find("p", "f1") is None


def test_the_manifest_tells_what_the_artifact_came_from(tmp_path):
    store = Store(tmp_path)
    first = write(store)
    with store.write("p", "run", "next", inputs={"thing": first}, settings={"a": 1}) as draft:
        (draft.folder / "x").write_text("x")
    manifest = json.loads((store.open(draft.done()) / "manifest.json").read_text())
    assert manifest["inputs"]["thing"]["digest"] == first.digest
    assert manifest["settings"] == {"a": 1}
    assert "tensorflow" in manifest["libraries"]


def test_a_run_id_cannot_leave_the_store(tmp_path):
    store = Store(tmp_path / "store")
    with store.write("p", "../../outside", "thing", inputs={}) as draft:
        (draft.folder / "x").write_text("x")
    assert store.open(draft.done()).is_relative_to(tmp_path / "store" / "p" / "runs")
