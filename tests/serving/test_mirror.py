"""A server's copy of a models folder in a bucket: what is desired, whole, whatever happens."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta

import pytest

from pipeline_tasks.core import clock
from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.store import verify_folder
from pipeline_tasks.release import desired, publishing
from pipeline_tasks.release.desired import Desired, Trial
from pipeline_tasks.sections import logged
from pipeline_tasks.sections.logged import Logged
from pipeline_tasks.serving.versions import mirror as mirroring
from pipeline_tasks.serving.versions.mirror import Mirror
from tests import s3
from tests.server import PROJECT, Server, environment
from tests.serving import tiny
from tests.serving.test_grpc import (
    Grpc,
    configuration,
    model_config,
    refused,
    reload,
    reload_request,
)
from tests.unit.test_publishing_remote import exported


@pytest.fixture
def models(s3_address, monkeypatch):
    return Bucket(s3.bucket(s3_address, monkeypatch), "PERENNIAL_MODELS")


@pytest.fixture
def calls(monkeypatch):
    """What was asked of the bucket."""
    made = []
    for name in ("tags", "sizes", "read", "read_all", "download"):
        real = getattr(Bucket, name)

        def asked(self, *given, name=name, real=real):
            given = [list(given[0]) if name == "read_all" else given[0]]
            if given[0] != []:
                made.append(name)
            return real(self, *given)

        monkeypatch.setattr(Bucket, name, asked)
    return made


def followed(mirror: Mirror) -> Mirror:
    """Poll until there is nothing left to be fetched."""
    mirror.folder.mkdir(parents=True, exist_ok=True)
    mirror.poll()
    while (thread := mirror._fetching) and thread.is_alive():
        thread.join()
        mirror.poll()
    return mirror


def here(mirror: Mirror) -> list[int]:
    found = publishing.versions(mirror.folder / "small")
    for version in found:
        verify_folder(mirror.folder / "small" / str(version))
    return found


@pytest.fixture
def three(models, tmp_path):
    """Three versions, of which the second answers."""
    for name in "abc":
        publishing.publish(exported(tmp_path, name), models / "small")
    desired.write(models / "small", desired.settled(2))
    logged.write(models / "small", Logged(share=0.5))
    return models


def test_what_is_desired_is_here_and_an_idle_poll_is_one_listing(three, tmp_path, calls):
    mirror = followed(Mirror(three, tmp_path))
    assert here(mirror) == [2]
    assert desired.read(mirror.folder / "small") == desired.settled(2)
    assert logged.read(mirror.folder / "small") == Logged(share=0.5)
    assert (mirror.folder / mirroring.MIRRORED).is_file()
    calls.clear()
    mirror.poll()
    assert calls == ["tags"]


def test_only_what_is_desired_is_kept_and_one_to_go_back_to(three, tmp_path):
    mirror = followed(Mirror(three, tmp_path))
    for wanted in (desired.settled(3), desired.beside(1, 3), desired.settled(1)):
        desired.write(three / "small", wanted)
        followed(mirror)
    assert here(mirror) == [1, 3]
    publishing.withdraw(three / "small", 3)
    followed(mirror)
    assert here(mirror) == [1]
    assert not list(mirror.folder.glob("*/.incoming-*"))


def test_without_a_desired_state_the_highest_version_is_here(three, tmp_path):
    (three / "small").delete([desired.FILE])
    mirror = followed(Mirror(three, tmp_path))
    assert here(mirror) == [3]
    assert not (mirror.folder / "small" / desired.FILE).exists()


@pytest.mark.parametrize("content", ["0ne", None])
def test_a_version_whose_objects_were_altered_never_arrives(three, tmp_path, content, caplog):
    mirror = followed(Mirror(three, tmp_path))
    (three / "small").delete(["3/saved_model.pb"])
    if content:
        (three / "small").write("3/saved_model.pb", content)
    desired.write(three / "small", desired.settled(3))
    followed(mirror)
    followed(mirror)
    assert here(mirror) == [2]
    assert caplog.text.count("small version 3 cannot be fetched, and is not served") == 1
    assert mirror.failures == 1
    assert not list(mirror.folder.glob("*/.incoming-*"))


def test_a_manifest_without_its_objects_or_that_is_none_is_no_version(three, tmp_path):
    (three / "small").write("7/manifest.json", "{}")
    (three / "small").write("8/saved_model.pb", "half")
    desired.write(three / "small", Desired(policy="all"))
    assert here(followed(Mirror(three, tmp_path))) == [1, 2, 3]


def test_a_later_process_goes_on_with_what_is_here(three, tmp_path, calls):
    followed(Mirror(three, tmp_path))
    calls.clear()
    assert here(followed(Mirror(three, tmp_path))) == [2]
    assert "download" not in calls


def test_of_two_processes_one_follows_and_when_it_ends_the_other_does(three, tmp_path):
    one, other = Mirror(three, tmp_path), Mirror(three, tmp_path)
    one.folder.mkdir(parents=True)
    assert [one._is_mine(), other._is_mine(), one._is_mine()] == [True, False, True]
    assert one._lock is not None
    one._lock.close()
    assert other._is_mine()
    other._lock.close()


def test_a_bucket_out_of_reach_is_told_once_and_changes_nothing(
    three, tmp_path, monkeypatch, caplog
):
    mirror = followed(Mirror(three, tmp_path))
    tags = Bucket.tags
    monkeypatch.setattr(Bucket, "tags", lambda *_: (_ for _ in ()).throw(OSError("no road")))
    pauses = [mirror._look() for _ in range(5)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == mirroring.MAXIMUM_PAUSE_SECONDS
    assert caplog.text.count("cannot be followed") == 1
    assert (here(mirror), mirror.failures) == ([2], 5)
    monkeypatch.setattr(Bucket, "tags", tags)
    assert mirror._look() == mirroring.POLL_SECONDS
    assert "is followed again, after 5 failures" in caplog.text
    mirror._lock.close()


def test_what_was_damaged_here_is_fetched_again_by_the_next_process(three, tmp_path):
    mirror = followed(Mirror(three, tmp_path))
    (mirror.folder / "small" / "2" / "saved_model.pb").write_text("0")
    assert here(followed(Mirror(three, tmp_path))) == [2]


def test_what_was_removed_here_is_fetched_again(three, tmp_path):
    mirror = followed(Mirror(three, tmp_path))
    shutil.rmtree(mirror.folder / "small")
    assert here(followed(mirror)) == [2]
    assert desired.read(mirror.folder / "small") == desired.settled(2)


def test_a_manifest_that_was_altered_later_takes_nothing_away(three, tmp_path):
    desired.write(three / "small", desired.beside(2, 3))
    mirror = followed(Mirror(three, tmp_path))
    desired.write(three / "small", desired.settled(2))
    (three / "small").write("2/manifest.json", "{}")
    followed(mirror)
    assert here(mirror) == [2, 3]
    assert mirror.failures == 1


def test_an_emptied_bucket_takes_nothing_away(three, tmp_path):
    mirror = followed(Mirror(three, tmp_path))
    three.delete(three.sizes(""))
    followed(mirror)
    assert here(mirror) == [2]


def test_a_server_with_a_folder_imports_no_client_of_a_bucket():
    code = (
        "import sys, pipeline_tasks.serving.processes.running\n"
        "print({'fsspec', 's3fs'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "set()\n"


def are_answered_by(server: Server, version: int) -> bool:
    """By every worker: each new connection goes to one of them."""
    return all(answered_by(server) == version for _ in range(20))


def answered_by(server: Server) -> int:
    reply = server.post("/v1/models/times:predict", {"instances": [1.0]})
    assert reply.status_code == 200, reply.text
    return int(reply.headers["perennial-version"])


def test_without_its_bucket_a_server_answers_ends_a_trial_in_time_and_starts_again(
    models, s3_address, tmp_path
):
    for version in (1, 2):
        folder = tiny.publish(tmp_path / "made", "times", version, tiny.times(version))
        assert publishing.publish(folder, models / "times") == version
    desired.write(models / "times", desired.beside(1, 2))
    road = s3.Road(s3_address)
    changes = {"PERENNIAL_HOME": str(tmp_path / "home"), "AWS_MAX_ATTEMPTS": "1"}
    changes |= s3.environment(road.address)
    options = ["--models", models.uri, "--workers", 2]
    server = Server(tmp_path, options=options, **changes).start()
    try:
        server.wait(lambda: server.answers("/v1/models/times/versions/2"))
        server.wait(lambda: server.answers("/readyz"))
        until = clock.text(clock.now() + timedelta(seconds=20))
        trial = Trial(version=2, mode="canary", percent=100, until=until)
        desired.write(models / "times", desired.beside(1, 2, trial))
        server.wait(lambda: are_answered_by(server, 2))
        road.close()
        server.wait(lambda: are_answered_by(server, 1))
        assert clock.text(clock.now()) >= until
        server.wait(lambda: "cannot be followed" in server.log())
        assert server.answers("/readyz")
        server.kill()
        server.start()
        server.wait(lambda: server.answers("/readyz"))
        assert answered_by(server) == 1
        road.reopen()
        desired.write(models / "times", desired.settled(2))
        server.wait(lambda: answered_by(server) == 2)
        assert s3.SECRET not in server.log()
    finally:
        server.stop()


def test_a_reload_over_grpc_is_kept_in_the_bucket(models, tmp_path):
    for version in (1, 2):
        folder = tiny.publish(tmp_path / "made", "times", version, tiny.times(version))
        publishing.publish(folder, models / "times")
    served = Grpc(tmp_path, "--models", models.uri, home=tmp_path / "home")
    served.server.start()
    try:
        served.server.wait(lambda: served.server.answers("/readyz"))
        assert answered_by(served.server) == 2
        wanted = "model_version_policy { specific { versions: 1 } }"
        for _ in range(2):
            reload(served, configuration(model_config("times", wanted, f"{models.uri}/times")))
            assert desired.read(models / "times") == Desired(policy="specific", specific=(1,))
            assert answered_by(served.server) == 1
            desired.look(models / "times")
            desired.write(models / "times", desired.settled(2))
            served.server.wait(lambda: answered_by(served.server) == 2)
        refused(
            served.models.HandleReloadConfigRequest,
            reload_request(configuration(model_config("times", base_path="s3://else/where"))),
            "INVALID_ARGUMENT",
            f"this server has it in {models.uri}/times",
        )
    finally:
        served.server.kill()
