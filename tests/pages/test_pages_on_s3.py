"""Pages of a store in a bucket: what they show, and how often they ask the bucket for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import s3fs

from pipeline_tasks.config import PROJECT
from pipeline_tasks.core.store import Store
from pipeline_tasks.pages import overview, trying
from pipeline_tasks.pages.activity import Activity
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.pipeline import pipeline_page
from pipeline_tasks.pages.reading import Journals
from pipeline_tasks.pages.version import version_page
from tests import s3
from tests.pages.test_pages import look
from tests.server import environment
from tests.small import write_small

LOOKS = 30
# Airflow's own application in a process, asked for every page; what it answers, as JSON.
ASK = """
import json, sys
from airflow.api_fastapi.main import app
from fastapi.testclient import TestClient

with TestClient(app) as client:
    token = client.get("/auth/token").json()["access_token"]
    headers = {"authorization": f"Bearer {token}", "accept": "text/html"}
    replies = [client.get(f"/perennial{path}", headers=headers) for path in sys.argv[1:]]
print(json.dumps([[one.status_code, one.text] for one in replies]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two versions of the small pipeline and some looks at the second."""
    with s3.running() as address, pytest.MonkeyPatch.context() as patch:
        made = write_small(tmp_path_factory.mktemp("pages"), promotion={"minimum": 0.4})
        made.uri = s3.bucket(address, patch)
        made.steps("first", until="deploy")
        made.steps("second", until="deploy", force=True)
        for number in range(LOOKS):
            look(made, number, is_bad=number == LOOKS - 1)
        yield made


@pytest.fixture
def asked(monkeypatch):
    """The requests that the bucket gets."""
    found: list[str] = []
    real = s3fs.S3FileSystem._call_s3

    async def counted(self: s3fs.S3FileSystem, method: str, *words: object, **more: object):
        found.append(method)
        return await real(self, method, *words, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    return found


class Seen:
    """The pages as a process of its own would gather them."""

    def __init__(self, store: Store, config) -> None:
        self.journals, self.files, self.config = Journals(store), Files(store), config

    def models(self):
        return overview.rows(self.journals, self.files, [self.config], {})

    def pipeline(self):
        return pipeline_page(self.journals, self.files, self.config, Activity())

    def version(self):
        return version_page(self.journals, self.files, self.config, 2)

    def form(self):
        champion = self.journals.store.champion(self.config.name)
        return trying.fields(self.files, champion)


def test_a_page_that_was_shown_before_asks_only_what_may_have_changed(made, asked):
    run = made.run()
    seen = Seen(run.store, run.config)
    most = {seen.models: 3, seen.pipeline: 4, seen.version: 5, seen.form: 2}
    for page, requests in most.items():
        page()
        asked.clear()
        page()
        assert len(asked) <= requests, (page.__name__, asked)


def test_a_look_is_two_requests_and_no_list_the_first_time_it_is_shown(made, asked):
    run = made.run()
    page = Seen(run.store, run.config).pipeline()
    assert len(page.heat_map.looks) == LOOKS
    assert asked.count("get_object") <= 3 * LOOKS + 10  # each look's line, manifest and report
    assert asked.count("list_objects_v2") <= 5


def test_what_was_altered_in_the_bucket_is_not_shown(made):
    run = made.run()
    report = run.store.monitoring("small")[0].report
    place = f"small/runs/look0/monitoring/{report.digest}/report.json"
    before = run.store.kept.read(place)
    run.store.kept.write(place, before.replace("0.9", "1.0"))
    assert Files(run.store).json(report, "report.json") is None
    run.store.kept.write(place, before)
    assert Files(run.store).json(report, "report.json")["quality"]["value"] == 0.9


def test_every_page_is_shown_by_airflow_itself(made, tmp_path):
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    env = environment(
        **variables,
        AIRFLOW_HOME=str(tmp_path),
        AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
        AIRFLOW__API_AUTH__JWT_SECRET="a secret of this test alone" * 3,
        PERENNIAL_HOME=str(tmp_path / "home"),
        PERENNIAL_PIPELINES=str(made.folder),
        PERENNIAL_STORE=made.uri,
        PYTHONPATH=os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
    )

    def call(*words: str) -> str:
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    call(str(Path(sys.executable).with_name("airflow")), "db", "migrate")
    paths = ["/", "/pipelines/small", "/pipelines/small?look=look29&feature=width"]
    paths += ["/pipelines/small/versions/2", "/pipelines/small/compare?a=1&b=2"]
    paths += ["/pipelines/small/try", "/pipelines/small/versions/9"]
    replies = json.loads(call(sys.executable, "-c", ASK, *paths).splitlines()[-1])
    assert [status for status, _ in replies] == [200] * 6 + [404]
    texts = [text for _, text in replies]
    assert "Degraded" in texts[0]
    assert "yes, it is drift" in texts[2]
    assert "small, version 2" in texts[3]
    assert "accuracy on test rows" in texts[4]
    assert not any(s3.SECRET in text for text in texts)
