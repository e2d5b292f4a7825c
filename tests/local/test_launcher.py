"""`make run`: up, safe, and gone again."""

from __future__ import annotations

import signal
import socket
import stat

import pytest

from tests.live import Live, command, listening, pid_exists, still_alive


@pytest.fixture
def live(tmp_path):
    found = Live(tmp_path)
    found.write_pipelines()
    return found


@pytest.mark.parametrize(("variable", "port"), [("UI", "ui_port"), ("SERVER", "server_port")])
def test_a_taken_port_is_a_clear_message(live, variable, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", getattr(live.local, port)))
        other.listen()
        done = live.run("up")
    assert done.returncode == 1
    taken = getattr(live.local, port)
    assert f"port {taken}" in done.stdout
    assert f"make run PERENNIAL_{variable}_PORT={taken + 1}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_port_that_is_no_number_is_a_clear_message(live, monkeypatch):
    monkeypatch.setattr(
        live, "environment", lambda: Live.environment(live) | {"PERENNIAL_UI_PORT": "http"}
    )
    done = live.run("up")
    assert done.returncode == 1
    assert "PERENNIAL_UI_PORT is 'http'; it must be a port number" in done.stdout


def test_up_and_down_and_up_again(live):
    live.start("up")
    live.wait_until_up()
    family = live.family()
    assert listening(family) == {"127.0.0.1"}
    assert stat.S_IMODE(live.local.password_file.stat().st_mode) == 0o600
    assert live.local.password() in live.text()
    live.airflow().wait_for_dag("digits__train")

    second = live.run("up")
    assert second.returncode == 1
    assert "Perennial is running already" in second.stdout

    run = live.airflow().trigger("digits__rollback", reason="to leave a trace")
    assert live.stop(signal.SIGINT) == 0
    assert still_alive(family) == []
    assert live.text().rstrip().endswith("stopped")

    live.output.write_text("")
    live.start("up")
    live.wait_until_up()
    assert "preparing Airflow's database" not in live.text()
    assert live.airflow().state("digits__rollback", run) is not None, "history is kept"

    family = live.family()
    [launcher, *services] = family
    launcher.kill()
    launcher.wait()
    assert any(pid_exists(process.pid) for process in services)
    live.output.write_text("")
    live.start("up")
    live.wait_until_up()
    assert "that an earlier run left behind" in live.text()
    assert not [process for process in services if process.is_running()]

    server = next(one for one in live.family() if "pipeline_tasks.serving" in command(one))
    server.kill()
    live.wait_for(lambda: "starting model server again" in live.text(), "a new model server")
    family = live.family()
    assert live.stop(signal.SIGTERM) == 0
    assert still_alive(family) == []
