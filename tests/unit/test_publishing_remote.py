"""Versions in a bucket: the manifest last, a number never used twice, and nothing written over."""

from __future__ import annotations

import shutil
import time

import pytest

from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.errors import ArtifactError, TransientError
from pipeline_tasks.core.store import Store
from pipeline_tasks.release import desired, models_config, publishing
from pipeline_tasks.release.desired import Desired
from pipeline_tasks.sections import logged
from pipeline_tasks.sections.logged import Logged
from tests import s3
from tests.unit.test_store_remote import started


@pytest.fixture
def models(s3_address, monkeypatch):
    return Bucket(s3.bucket(s3_address, monkeypatch), "PERENNIAL_MODELS")


@pytest.fixture
def bucket(models):
    return models / "small"


def exported(tmp_path, content: str, files: int = 1):
    store = Store(tmp_path / "store")
    with store.write("p", f"run {content}", "exported", inputs={}) as draft:
        (draft.folder / "saved_model.pb").write_text(content)
        (draft.folder / "variables").mkdir()
        for number in range(files):
            (draft.folder / "variables" / f"{number}").write_text(f"{content} {number}")
    return store.open(draft.done())


def test_a_version_is_sent_graph_after_variables_and_manifest_last(bucket, tmp_path, monkeypatch):
    sent = []
    upload, create = Bucket.upload, Bucket.create

    def uploading(self, files_by_key, **given):
        sent.append(list(files_by_key))
        upload(self, files_by_key, **given)

    def creating(self, key, content):
        sent.append([key])
        return create(self, key, content)

    monkeypatch.setattr(Bucket, "upload", uploading)
    monkeypatch.setattr(Bucket, "create", creating)
    assert publishing.publish(exported(tmp_path, "a"), bucket) == 1
    assert sent == [["1/variables/0"], ["1/saved_model.pb"], ["1/manifest.json"]]


def test_numbers_count_up_are_never_used_again_and_a_retry_gives_the_same(bucket, tmp_path):
    first, second = exported(tmp_path, "a"), exported(tmp_path, "b")
    assert [publishing.publish(one, bucket) for one in (first, first, second)] == [1, 1, 2]
    publishing.withdraw(bucket, 2)
    publishing.withdraw(bucket, 2)
    assert publishing.versions(bucket) == [1]
    assert bucket.read("2/saved_model.pb") == "b"
    assert publishing.publish(exported(tmp_path, "c"), bucket) == 3
    publishing.restore(bucket, 2)
    assert publishing.versions(bucket) == [1, 2, 3]
    with pytest.raises(ArtifactError, match=r"version 9 is not in s3://"):
        publishing.restore(bucket, 9)


def test_a_withdrawn_version_that_lost_a_file_is_not_put_back(bucket, tmp_path):
    publishing.publish(exported(tmp_path, "a"), bucket)
    publishing.withdraw(bucket, 1)
    bucket.delete(["1/variables/0"])
    with pytest.raises(ArtifactError, match="variables/0 is missing"):
        publishing.restore(bucket, 1)
    assert publishing.versions(bucket) == []


PUBLISH = """
import sys
from pathlib import Path
from pipeline_tasks.release import publishing
from pipeline_tasks.core.bucket import Bucket
publishing.publish(Path(sys.argv[1]), Bucket(sys.argv[2]))
"""


def test_a_publisher_killed_between_objects_leaves_no_version_and_the_next_one_cleans_up(
    bucket, tmp_path
):
    model = exported(tmp_path, "big", files=1500)
    publisher = started(PUBLISH, str(model), bucket.uri)
    while len(bucket.sizes("1")) < 20:
        assert publisher.poll() is None
        time.sleep(0.01)
    publisher.kill()
    publisher.communicate()
    assert len(bucket.sizes("1")) < 1500, "it was killed too late to show anything"
    assert publishing.versions(bucket) == []
    assert publishing.publish(exported(tmp_path, "other"), bucket) == 1
    assert set(bucket.sizes("1")) == {"manifest.json", "saved_model.pb", "variables/0"}


def test_two_publishers_of_one_number_never_mix(bucket, tmp_path, monkeypatch):
    """The late one sends its files while the other's are there already."""
    mine, late = exported(tmp_path, "mine"), exported(tmp_path, "late")
    delete = Bucket.delete

    def overtaken(self, keys):
        delete(self, list(keys))
        monkeypatch.setattr(Bucket, "delete", delete)
        assert publishing.publish(mine, bucket) == 1

    monkeypatch.setattr(Bucket, "delete", overtaken)
    with pytest.raises(TransientError, match="somebody else"):
        publishing.publish(late, bucket)
    assert bucket.read("1/variables/0") == "mine 0"
    assert bucket.read("1/saved_model.pb") == "mine"
    assert publishing.publish(late, bucket) == 2


def test_what_an_accident_has_taken_from_a_version_a_retry_sends_again(bucket, tmp_path):
    model = exported(tmp_path, "a")
    publishing.publish(model, bucket)
    bucket.delete(["1/variables/0"])
    assert publishing.publish(model, bucket) == 1
    assert bucket.read("1/variables/0") == "a 0"


def test_a_desired_state_that_somebody_else_has_written_meanwhile_is_not_undone(models):
    mine, other = models / "small", Bucket(models.uri) / "small"
    desired.look(mine)
    desired.write(other, desired.settled(2))
    with pytest.raises(TransientError, match="written by somebody else meanwhile"):
        desired.write(mine, desired.settled(1))
    assert desired.read(mine) == desired.settled(2)
    desired.write(mine, desired.settled(3))
    desired.write(mine, desired.settled(4))
    with pytest.raises(TransientError, match="written by somebody else meanwhile"):
        desired.look(other)
        desired.write(mine, desired.settled(5))
        desired.write(other, desired.settled(6))
    assert desired.read(other) == desired.settled(5)


def test_a_desired_state_that_is_gone_or_broken_says_so(bucket):
    assert desired.read(bucket) == Desired()
    desired.write(bucket, desired.settled(1))
    desired.look(bucket)
    bucket.delete([desired.FILE])
    with pytest.raises(TransientError, match="meanwhile"):
        desired.write(bucket, desired.settled(2))
    bucket.write(desired.FILE, "{")
    with pytest.raises(ArtifactError, match=r"s3://.*desired\.json is no desired state"):
        desired.read(bucket)


def test_what_is_logged_is_told_through_the_bucket(bucket):
    assert logged.read(bucket) == Logged()
    logged.write(bucket, Logged(share=0.5))
    assert logged.read(bucket) == Logged(share=0.5)


def test_models_config_names_the_bucket_and_only_versions_that_are_whole(models, tmp_path):
    publishing.publish(exported(tmp_path, "a"), models / "small")
    desired.write(models / "small", desired.settled(1))
    (models / "half").write("1/saved_model.pb", "not all of it")
    models_config.write(models)
    text = models.read(models_config.FILE)
    assert f'base_path: "{models.uri}/small"' in text
    assert "half" not in text


def test_pipelines_that_write_models_config_at_once_lose_nothing(models, tmp_path, monkeypatch):
    model = exported(tmp_path, "a")
    publishing.publish(model, models / "small")
    text = models_config.text

    def overtaken(*given):
        found = text(*given)
        monkeypatch.setattr(models_config, "text", text)
        publishing.publish(model, models / "other")
        models_config.write(Bucket(models.uri))
        return found

    monkeypatch.setattr(models_config, "text", overtaken)
    models_config.write(models)
    assert '"other"' in models.read(models_config.FILE)
    assert '"small"' in models.read(models_config.FILE)


def test_an_altered_export_is_not_published(bucket, tmp_path):
    model = exported(tmp_path, "a")
    shutil.rmtree(model / "variables")
    with pytest.raises(ArtifactError):
        publishing.publish(model, bucket)
    assert bucket.sizes("") == {}
