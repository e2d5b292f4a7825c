"""What only a store in a bucket can show: machines that die, and objects that are altered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import fsspec
import pytest

from pipeline_tasks.core import journal, remote
from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.errors import ArtifactError, ConfigError, TransientError
from pipeline_tasks.core.journal import Journal
from pipeline_tasks.core.remote import Remote
from pipeline_tasks.core.store import Store, store_at
from tests import s3
from tests.server import PROJECT
from tests.unit.test_store import champion, write


@pytest.fixture
def uri(s3_address, monkeypatch):
    return s3.bucket(s3_address, monkeypatch)


@pytest.fixture
def machine(uri, tmp_path):
    """The store as machine number so-and-so sees it; a holder of its lock is dead after 3 s."""

    def make(number: int = 1) -> Store:
        folder = tmp_path / f"machine {number}"
        return Store(folder, Remote(uri, folder / ".cache", lease_seconds=3))

    return make


def objects(uri: str) -> dict[str, int]:
    return Bucket(uri).sizes("p")


def started(code: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )


UPLOAD = """
import sys
from pathlib import Path
from pipeline_tasks.core.store import store_at
store = store_at(sys.argv[1], Path(sys.argv[2]))
with store.write("p", "run:1+0", "thing", inputs={}) as draft:
    for number in range(1500):
        (draft.folder / f"{number}.txt").write_text(f"new {number}")
"""


@pytest.mark.parametrize("is_second", [False, True])
def test_an_upload_that_is_killed_changes_nothing(machine, uri, tmp_path, is_second):
    store = machine()
    ref = write(store) if is_second else None
    before = objects(uri)
    writer = started(UPLOAD, uri, str(tmp_path / "killed"))
    while len(objects(uri)) < len(before) + 20:
        assert writer.poll() is None
        time.sleep(0.01)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    assert len(objects(uri)) < 1500, "it was killed too late to show anything"
    manifests = [key for key in objects(uri) if key.endswith("manifest.json")]
    assert len(manifests) == is_second
    if ref:
        assert (machine(2).open(ref) / "part" / "file.txt").read_text() == "one"
    again = write(store, "two")
    assert (machine(2).open(again) / "part" / "file.txt").read_text() == "two"


def test_a_replaced_artifact_leaves_no_files_behind(machine, uri):
    write(machine(), "one")
    write(machine(), "two")
    assert len([key for key in objects(uri) if key.endswith("file.txt")]) == 1


@pytest.mark.parametrize("content", ["0ne", "", None])
def test_an_altered_or_missing_object_is_refused(machine, uri, content):
    ref = write(machine(), fingerprint="f1")
    [key] = [f"p/{key}" for key in objects(uri) if key.endswith("file.txt")]
    if content is None:
        Bucket(uri).delete([key])
        with pytest.raises(ArtifactError, match=r"file\.txt"):
            machine().open(ref)
    else:
        Bucket(uri).write(key, content)
    with pytest.raises(ArtifactError, match=r"file\.txt"):
        machine(2).open(ref)
    assert machine(2).find("p", "f1") is None


@pytest.mark.parametrize("content", ["{}", "half of {", '{"digest": "../../x"}', None])
def test_a_manifest_that_is_none_is_refused(machine, uri, content):
    ref = write(machine())
    [key] = [f"p/{key}" for key in objects(uri) if key.endswith("manifest.json")]
    Bucket(uri).delete([key])
    if content is not None:
        Bucket(uri).write(key, content)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        machine().open(ref)


def test_a_manifest_whose_files_were_changed_with_their_digests_is_refused(machine, uri):
    ref = write(machine())
    [key] = [f"p/{key}" for key in objects(uri) if key.endswith("manifest.json")]
    text = Bucket(uri).read(key)
    digest = text.split('"part/file.txt": "')[1].split('"')[0]
    Bucket(uri).write(key, text.replace(digest, "0" * 64))
    with pytest.raises(ArtifactError, match="not what its manifest says"):
        machine(2).open(ref)


def test_an_artifact_is_fetched_once_and_again_when_the_copy_was_altered(machine, monkeypatch):
    fetched = []
    download = Bucket.download
    monkeypatch.setattr(
        Bucket, "download", lambda self, files: (fetched.append(files), download(self, files))
    )
    ref = write(machine())
    machine().open(ref)
    assert not fetched
    first = machine(2).open(ref)
    machine(2).open(ref)
    assert len(fetched) == 1
    (first / "part" / "file.txt").write_text("0ne")
    assert (machine(2).open(ref) / "part" / "file.txt").read_text() == "one"
    assert len(fetched) == 2


def test_what_was_not_opened_for_a_week_leaves_the_cache(machine, monkeypatch):
    store = machine()
    old = write(store)
    folder = store.open(old)
    long_ago = time.time() - remote.CACHED_SECONDS - 60
    os.utime(folder, (long_ago, long_ago))
    with store.write("p", "run", "other", inputs={}) as draft:
        (draft.folder / "x").write_text("x")
    assert not folder.exists()
    assert store.open(old) == folder


HOLD = """
import sys, time
from pathlib import Path
from pipeline_tasks.core.errors import TransientError
from pipeline_tasks.core.remote import Remote
from pipeline_tasks.core.store import Store
from tests.unit.test_store import champion
folder = Path(sys.argv[2])
store = Store(folder, Remote(sys.argv[1], folder / ".cache", lease_seconds=3))
with store.lock("p"):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
    try:
        store.set_champion("p", champion(1))
    except TransientError as error:
        print("late:", error.what, flush=True)
    else:
        print("promoted", flush=True)
"""


def test_a_lock_is_kept_for_as_long_as_its_holder_lives(machine, uri, tmp_path):
    holder = started(HOLD, uri, str(tmp_path / "holder"), "6")
    assert holder.stdout.readline() == "held\n"
    with machine().lock("p"):
        assert machine().champion("p") == champion(1)
    assert holder.communicate()[0] == "promoted\n"


def test_the_lock_of_a_killed_holder_is_free_again(machine, uri, tmp_path):
    holder = started(HOLD, uri, str(tmp_path / "holder"), "60")
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    with machine().lock("p"):
        assert machine().champion("p") is None


def test_a_holder_that_slept_too_long_cannot_undo_what_a_later_one_did(machine, uri, tmp_path):
    holder = started(HOLD, uri, str(tmp_path / "holder"), "3")
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGSTOP)
    later = machine()
    with later.lock("p"):
        later.set_champion("p", champion(2))
    holder.send_signal(signal.SIGCONT)
    assert "late: the lock p/locks was lost" in holder.communicate()[0]
    assert machine().champion("p") == champion(2)
    # Even one that fell asleep after it had looked for the last time.
    Bucket(uri).write("p/champion/000000000001.json", champion(1).model_dump_json())
    assert machine().champion("p") == champion(2)


def test_a_journal_stays_small_and_loses_nothing(uri, monkeypatch):
    monkeypatch.setattr(journal, "MOST_OBJECTS", 5)
    bucket = Bucket(uri)
    one, two = Journal(bucket, "p/log"), Journal(bucket, "p/log")
    for number in range(20):
        (one if number % 2 else two).append(f"entry {number}")
    assert one.lines() == two.lines() == [f"entry {number}" for number in range(20)]
    assert len(bucket.sizes("p/log")) <= 6


def test_an_entry_counts_once_when_merging_was_cut_short(uri, monkeypatch):
    monkeypatch.setattr(journal, "MOST_OBJECTS", 3)

    class Killed(Bucket):
        def delete(self, keys):
            raise KeyboardInterrupt

    for number in range(3):
        Journal(Bucket(uri), "p/log").append(f"entry {number}")
    with pytest.raises(KeyboardInterrupt):
        Journal(Killed(uri), "p/log").append("entry 3")
    assert len(objects(uri)) == 5
    assert Journal(Bucket(uri), "p/log").lines() == [f"entry {number}" for number in range(4)]


def refused(uri: str, tmp_path, kind: type[Exception]) -> str:
    """What a store says when it cannot be reached, whatever it is asked."""
    store = store_at(uri, tmp_path)
    asked = (
        lambda: store.champion("p"),
        lambda: store.find("p", "f"),
        lambda: store.history("p"),
        lambda: write(store),
        lambda: store.lock("p").__enter__(),
    )
    said = set()
    for ask in asked:
        with pytest.raises(kind) as caught:
            ask()
        said.add(str(caught.value))
    assert not any(s3.SECRET in text or "Traceback" in text for text in said)
    return "\n".join(said)


def test_a_bucket_that_is_not_there_is_a_mistake_in_the_settings(uri, tmp_path):
    text = refused("s3://no-such-bucket/x", tmp_path, ConfigError)
    assert "s3://no-such-bucket/x" in text
    assert "make the bucket" in text


def test_without_credentials_it_says_which_are_wanted(uri, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert "AWS_ACCESS_KEY_ID" in refused(uri, tmp_path, ConfigError)


def test_a_store_that_does_not_answer_may_answer_later(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{s3.SECRET}@127.0.0.1:9")
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "retries", 1)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert "look whether the store is up" in refused(uri, tmp_path, TransientError)


@pytest.mark.parametrize("uri", ["nothing://x/y", "s3://me:password@bucket/x"])
def test_a_uri_that_cannot_be_is_refused(uri, tmp_path):
    with pytest.raises(ConfigError) as caught:
        store_at(uri, tmp_path).champion("p")
    assert "PERENNIAL_STORE" in str(caught.value)
    assert "password@" not in str(caught.value)
