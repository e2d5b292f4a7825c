"""What only a store in a folder can show: its files, altered by hand."""

from __future__ import annotations

import pytest

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Store
from tests.unit.test_store import write


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


def test_an_altered_artifact_is_never_opened_and_never_found(tmp_path):
    store = Store(tmp_path)
    ref = write(store, fingerprint="f1")
    (store.open(ref) / "part" / "file.txt").write_text("0ne")
    with pytest.raises(ArtifactError, match="not what its manifest says"):
        store.open(ref)
    assert store.find("p", "f1") is None


def test_a_step_that_fails_leaves_no_scratch(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.write("p", "run", "thing", inputs={}):
        raise ZeroDivisionError
    assert list((tmp_path / "p" / "runs" / "run").iterdir()) == []


def test_a_run_id_cannot_leave_the_store(tmp_path):
    store = Store(tmp_path / "store")
    with store.write("p", "../../outside", "thing", inputs={}) as draft:
        (draft.folder / "x").write_text("x")
    assert store.open(draft.done()).is_relative_to(tmp_path / "store" / "p" / "runs")
