"""Who looks and who acts on the pages under the cluster's auth manager, by its own roles."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.server import PROJECT, environment
from tests.small import write_small

pytest.importorskip("airflow.providers.fab", reason="the cluster's auth manager is not installed")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_small(tmp_path_factory.mktemp("fab"))


@pytest.fixture(scope="module")
def answers(small):
    """What each role is answered, in a database that the cluster's own first step has made."""
    folder = small.folder
    init = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]["init"]
    kept = ("AIRFLOW__CORE__AUTH_MANAGER", "AIRFLOW__CORE__LOAD_EXAMPLES", "AIRFLOW__API__BASE_URL")
    env = environment(
        **{name: init["environment"][name] for name in kept},
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        AIRFLOW_HOME=str(folder / "airflow"),
        AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
        AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
        AIRFLOW__API_AUTH__JWT_SECRET="a secret of this test alone" * 3,
        AIRFLOW__API__SECRET_KEY="another secret of this test",
        PERENNIAL_ADMIN_PASSWORD="-begins with a dash",
        PERENNIAL_HOME=str(folder),
        PERENNIAL_PIPELINES=str(folder),
    )

    def call(*words: str) -> str:
        done = subprocess.run(
            words, env=env, cwd=PROJECT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done.stdout

    call(*(word.replace("$$", "$") for word in init["command"]))
    return json.loads(call(sys.executable, "-m", "tests.cluster.asking").splitlines()[-1])


def test_whoever_is_not_logged_in_sees_nothing_and_is_led_to_the_login(answers):
    found = answers["nobody"]
    assert set(found["pages"].values()) == {401}
    assert "Please log in" in found["text"]
    assert "The loop" not in found["text"]
    assert all(set(found[where].values()) <= {401, 403} for where in ("own", "none", "other"))


@pytest.mark.parametrize("role", ["Admin", "User", "Viewer"])
def test_a_login_comes_back_and_the_pages_are_in_the_navigation(answers, role):
    found = answers[role]
    assert found["back"].endswith("/perennial/pipelines/small?span=50")
    assert {"Models", "Model", "What it did"} <= set(found["views"])
    assert [found["pages"][path] for path in ("/", "/pipelines/small")] == [200, 200]
    assert "Nothing trained yet" in re.sub(r"\s+", " ", found["text"])
    assert 403 not in found["pages"].values()


def test_a_viewer_looks_and_cannot_act(answers):
    found = answers["Viewer"]
    assert "lets you look, not act" in found["text"]
    assert {*found["own"].values(), found["started"]} == {403}


@pytest.mark.parametrize("role", ["Admin", "User"])
def test_a_user_acts_and_is_asked_why(answers, small, role):
    found = answers[role]
    assert "lets you look, not act" not in found["text"]
    assert set(found["own"].values()) == {400}
    assert found["started"] == 303
    [entry] = [one for one in small.run().store.history("small") if one.by == role.lower()]
    assert (entry.event, entry.reasons) == ("run", ("the first model",))


def test_a_role_without_rights_sees_no_pipeline(answers):
    found = answers["Public"]
    assert found["pages"]["/pipelines/small"] == 403
    assert found["views"] == []
    assert {*found["own"].values(), found["started"]} == {403}


@pytest.mark.parametrize("where", ["none", "other", "basic"])
def test_an_action_is_taken_from_airflows_own_pages_only(answers, where):
    assert set(answers["Admin"][where].values()) == {403}
