"""The loop with its store and its models in a bucket, and two servers that share nothing else.

The tests share these servers and one history, and run in the order of the file.
"""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from pipeline_tasks import loop, observations
from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.store import MANIFEST
from pipeline_tasks.release import desired, publishing
from pipeline_tasks.run import Run
from tests import s3
from tests.deployment.conftest import CANARY, Deployed
from tests.server import Server

RULES = {
    "promotion": {"minimum": 0.0, "margin": 1.0, "slice_margin": 1.0},
    "evaluation": {"bootstrap": 0, "importance": False},
    "metrics": ["accuracy"],
    "deployment": {"strategy": "replace", "bake_minutes": 0.02},
}


class Away(Deployed):
    """The same with a bucket between the pipeline and its server, which has a road of its own."""

    def __init__(self, folder, address: str, uri: str) -> None:
        super().__init__(folder, **RULES)
        self.server.kill()
        self.made.uri, self.models = f"{uri}/store", Bucket(f"{uri}/models", "PERENNIAL_MODELS")
        self.road = s3.Road(address)
        options = ["--models", self.models.uri, "--store", self.made.uri]
        changes = s3.environment(self.road.address) | {"AWS_MAX_ATTEMPTS": "1"}
        self.server, self.second = (
            Server(folder, options=options, PERENNIAL_HOME=str(folder / home), **changes).start()
            for home in ("one", "another")
        )

    def run(self, **changes: object) -> Run:
        found = super().run(**changes)
        return replace(found, models=self.models, others=(self.second.url,))


@pytest.fixture(scope="module")
def away(tmp_path_factory):
    with s3.running() as address, pytest.MonkeyPatch.context() as patch:
        made = Away(tmp_path_factory.mktemp("away"), address, s3.bucket(address, patch))
        yield made
        made.server.kill()
        made.second.kill()


def answered_by(away: Away) -> int:
    """The version that both servers answer with."""
    row = {"width": 0.5, "height": 0.25, "colour": "red"}
    found = set()
    for server in (away.server, away.second):
        reply = server.post("/v1/models/small:predict", {"instances": [row]})
        assert reply.status_code == 200, reply.text
        found.add(int(reply.headers["perennial-version"]))
    [version] = found
    return version


class Killed(BaseException):
    """SIGKILL, as far as the bucket is concerned."""


def test_a_publisher_that_dies_before_the_manifest_has_published_nothing(away, monkeypatch):
    create = Bucket.create

    def dying(self, key, content):
        if key.endswith(MANIFEST):
            raise Killed
        return create(self, key, content)

    away.first = away.run()
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "create", dying)
        with pytest.raises(Killed):
            list(loop.run_steps(away.first))
    bucket = away.models / "small"
    assert "saved_model.pb" in bucket.sizes("1")
    assert publishing.versions(bucket) == []
    assert not list(away.made.folder.glob("*/mirror/*/small/1"))


def test_its_retry_cleans_up_and_the_server_picks_the_version_up(away):
    (away.models / "small").write("1/left over", "of the one that died")
    left = dict(loop.run_steps(away.first))
    assert list(left)[-1] == "bake", left
    assert "left over" not in (away.models / "small").sizes("1")
    assert (away.champion(), answered_by(away)) == (1, 1)
    assert publishing.publish(away.first.open(left["export"]), away.models / "small") == 1
    assert not (away.made.folder / "models" / "small").exists()


def test_a_canary_goes_up_step_by_step_and_is_promoted(away):
    away.change(model={"kind": "mlp", "hidden": [6]}, deployment=CANARY)
    with away.traffic() as traffic:
        left = away.train()
    assert list(left)[-4:] == ["canary_30", "canary_60", "deploy", "bake"], left
    assert traffic.failures == []
    assert set(traffic.answered) == {1, 2}
    assert desired.read(away.models / "small") == desired.settled(2)
    assert answered_by(away) == 2


def test_a_candidate_that_is_withdrawn_leaves_the_server_and_its_files_stay(away):
    rules = CANARY | {"step_minutes": 0.02, "on_little_traffic": "refuse"}
    away.change(model={"kind": "mlp", "hidden": [7]}, deployment=rules)
    left = away.train()
    assert list(left)[-2:] == ["canary_30", "withdraw"], left
    assert publishing.versions(away.models / "small") == [1, 2]
    assert "saved_model.pb" in (away.models / "small").sizes("3")
    assert answered_by(away) == 2


def test_while_the_bucket_is_away_the_server_answers_and_afterwards_it_follows(away):
    with away.traffic() as traffic:
        away.road.close()
        away.server.wait(lambda: "cannot be followed" in away.server.log())
        assert away.server.answers("/readyz")
        found = httpx.get(f"{away.server.url}/monitoring/prometheus/metrics", timeout=30).text
        [failures] = [
            line
            for line in found.splitlines()
            if line.startswith("perennial_mirror_failures_total")
        ]
        assert float(failures.split()[-1]) > 0
        away.road.reopen()
        back = loop.function("rollback")(away.run(), version=None, reason="to see it go back")
    assert back.summary["version"] == 1
    assert traffic.failures == []
    assert answered_by(away) == 1
    assert away.server.log().count("cannot be followed") == 1
    assert "is followed again" in away.server.log()
    assert away.events()[-1] == "rollback"


def test_what_was_asked_and_answered_is_in_the_store_and_no_secret_is_in_a_log(away):
    away.server.stop()
    assert {one.version for one in observations.predictions(away.run().observations())} == {1, 2}
    assert s3.SECRET not in away.server.log()
