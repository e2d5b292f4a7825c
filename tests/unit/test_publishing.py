"""Version folders: in by one rename, out by one rename, a number never used twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import Store
from pipeline_tasks.release import publishing


def exported(tmp_path: Path, content: str) -> Path:
    store = Store(tmp_path / "store")
    with store.write("p", f"run {content}", "exported", inputs={}) as draft:
        (draft.folder / "saved_model.pb").write_text(content)
    return store.open(draft.done())


def test_versions_count_up(tmp_path):
    target = tmp_path / "models"
    target.mkdir()
    assert publishing.publish(exported(tmp_path, "a"), target) == 1
    assert publishing.publish(exported(tmp_path, "b"), target) == 2
    assert publishing.versions(target) == [1, 2]
    assert (target / "2" / "saved_model.pb").read_text() == "b"


def test_publishing_the_newest_model_again_gives_its_version(tmp_path):
    target = tmp_path / "models"
    target.mkdir()
    model = exported(tmp_path, "a")
    assert [publishing.publish(model, target) for _ in range(2)] == [1, 1]


def test_a_withdrawn_version_is_out_of_sight_and_its_number_is_never_used_again(tmp_path):
    target = tmp_path / "models"
    target.mkdir()
    publishing.publish(exported(tmp_path, "a"), target)
    publishing.publish(exported(tmp_path, "b"), target)
    publishing.withdraw(target, 2)
    assert publishing.versions(target) == [1]
    assert publishing.publish(exported(tmp_path, "c"), target) == 3
    publishing.restore(target, 2)
    assert publishing.versions(target) == [1, 2, 3]


def test_an_altered_export_is_not_published(tmp_path):
    target = tmp_path / "models"
    target.mkdir()
    model = exported(tmp_path, "a")
    (model / "saved_model.pb").write_text("b")
    with pytest.raises(ArtifactError):
        publishing.publish(model, target)
    assert list(target.iterdir()) == []


def test_a_version_that_never_was_cannot_be_restored(tmp_path):
    with pytest.raises(ArtifactError, match="version 9"):
        publishing.restore(tmp_path, 9)
