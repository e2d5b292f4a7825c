"""Versions are swapped without a failed request, and nothing broken is ever served."""

from __future__ import annotations

import shutil
import threading
import time

import httpx
import pytest

from pipeline_tasks.core.store import MANIFEST
from pipeline_tasks.release import publishing
from pipeline_tasks.serving.client import Client
from tests.serving.conftest import ROW


def state(server, version: int) -> tuple[str, str]:
    return Client(server.url).states("small").get(version, ("", ""))


def answered_by(server) -> int:
    return Client(server.url).predict("small", [ROW], is_probe=True)[1]


class Load:
    """Four clients that never stop asking."""

    def __init__(self, server) -> None:
        self.failures: list[str] = []
        self.versions: list[int] = []
        self._server, self._stop = server, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._server.url, timeout=30) as client:
            while not self._stop.is_set():
                reply = client.post("/v1/models/small:predict", json={"instances": [ROW]})
                if reply.status_code != 200:
                    self.failures.append(reply.text)
                self.versions.append(int(reply.headers.get("perennial-version", 0)))


def test_swapping_forth_and_back_under_load_fails_no_request(server, models):
    folder = server.models / "small"
    with Load(server) as load:
        for _ in range(2):
            version = publishing.publish(models.second, folder)
            server.wait(lambda version=version: state(server, version)[0] == "AVAILABLE")
            time.sleep(0.3)
            publishing.withdraw(folder, version)
            server.wait(lambda: answered_by(server) == 1)
            time.sleep(0.3)
    assert load.failures == []
    assert set(load.versions) == {1, 2, 3}
    assert len(load.versions) > 200


def test_an_older_version_is_never_answered_once_the_new_one_is_available(server, models):
    publishing.publish(models.second, server.models / "small")
    server.wait(lambda: state(server, 2)[0] == "AVAILABLE")
    assert {answered_by(server) for _ in range(50)} == {2}
    assert state(server, 1)[0] == "END"


def test_a_half_written_folder_is_never_opened(server, models):
    partial = server.models / "small" / "2"
    shutil.copytree(models.second, partial, ignore=shutil.ignore_patterns(MANIFEST))
    time.sleep(2.5)
    assert state(server, 2) == ("", "")
    assert answered_by(server) == 1


@pytest.mark.parametrize("victim", ["saved_model.pb", "variables/variables.index"])
def test_an_altered_folder_is_never_served_and_its_state_says_why(server, models, victim):
    scratch = server.models / "small" / ".scratch"
    shutil.copytree(models.second, scratch)
    with (scratch / victim).open("ab") as file:
        file.write(b"x")
    scratch.rename(server.models / "small" / "2")
    server.wait(lambda: state(server, 2)[0] == "END")
    assert victim in state(server, 2)[1]
    assert answered_by(server) == 1
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_a_folder_that_no_server_can_load_is_reported_and_the_old_version_answers(server, tmp_path):
    from pipeline_tasks.core.store import Store

    with Store(tmp_path / "other").write("small", "run", "exported", inputs={}) as draft:
        (draft.folder / "saved_model.pb").write_bytes(b"no model at all")
    broken = Store(tmp_path / "other").open(draft.done())
    publishing.publish(broken, server.models / "small")
    server.wait(lambda: state(server, 2)[0] == "END")
    assert answered_by(server) == 1


def test_a_second_server_on_the_same_port_says_that_it_is_taken(server, tmp_path):
    import subprocess

    from tests.server import COMMAND, environment

    command = [*COMMAND, "--port", str(server.port), "--models", str(tmp_path)]
    ended = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{server.port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_sigterm_ends_the_server_well(server):
    assert server.stop() in (0, -15)


def test_what_happens_to_other_folders_stops_no_model(server, models):
    (server.models / "a file").write_text("no folder")
    (server.models / "file").write_text("no folder either")
    (server.models / "dangling").symlink_to(server.models / "nowhere")
    (server.models / "empty").mkdir()
    (server.models / "odd" / "7").mkdir(parents=True)
    (server.models / "odd" / "7" / MANIFEST).mkdir()
    (server.models / "odd" / "desired.json").mkdir()
    (server.models / "gone" / "1").mkdir(parents=True)
    (server.models / "gone" / "1" / MANIFEST).write_text("{}")
    server.wait(lambda: Client(server.url).states("gone").get(1, ("",))[0] == "END")
    shutil.rmtree(server.models / "gone")
    publishing.publish(models.second, server.models / "small")
    server.wait(lambda: state(server, 2)[0] == "AVAILABLE")
    assert answered_by(server) == 2
    server.wait(lambda: Client(server.url).states("gone") == {})


def test_a_models_folder_that_is_away_for_a_while_changes_nothing(server, models):
    away = server.models.with_name("away")
    server.models.rename(away)
    time.sleep(2.5)
    assert answered_by(server) == 1
    assert server.answers("/readyz")
    away.rename(server.models)
    publishing.publish(models.second, server.models / "small")
    server.wait(lambda: state(server, 2)[0] == "AVAILABLE")


def test_a_server_is_alive_at_once_and_ready_when_every_model_answers(server):
    server.stop()
    broken = server.models / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / MANIFEST).write_text("{}")
    server.start()
    assert server.answers("/livez")
    server.wait(lambda: state(server, 1)[0] == "AVAILABLE")
    assert not server.answers("/readyz")
    shutil.rmtree(server.models / "broken")
    server.wait(lambda: server.answers("/readyz"))
