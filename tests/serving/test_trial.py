"""A candidate beside the version that answers: canary, shadow, and what is counted of each."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from datetime import timedelta

import httpx
import pytest
import tensorflow as tf

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import Store
from pipeline_tasks.release import desired
from pipeline_tasks.release.desired import Desired, Trial, is_chosen
from tests.server import Server
from tests.serving import tiny

VERSIONS = {
    1: tiny.times(1),
    2: tiny.times(2),
    3: tiny.failing,
    4: lambda x: x / (x - 1) * 1,  # not a number, or not finite, where x is 1
    5: lambda x: x + 1e-4,
}


def slow(x):
    """Seconds for every request whose first value is negative, and no time for others."""
    count = tf.where(x[0] < 0, 500_000, 0)
    waited = tf.while_loop(lambda n: n < count, lambda n: [n + 1], [tf.constant(0)])
    return x + 0 * tf.cast(waited[0], tf.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    server = Server(folder)
    for version, function in VERSIONS.items():
        tiny.publish(server.models, "m", version, function)
    desired.write(server.models / "m", Desired(policy="all", default=1))
    server.start()
    server.wait(lambda: all(server.answers(f"/v1/models/m/versions/{v}") for v in VERSIONS))
    server.wait(lambda: overview(server)["loaded"] == list(VERSIONS))
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


def overview(server) -> dict:
    return httpx.get(f"{server.url}/perennial/models/m").json()


def try_out(server, version: int, mode: str, percent: float = 100, seconds: float = 600) -> None:
    until = clock.text(clock.now() + timedelta(seconds=seconds))
    trial = Trial(version=version, mode=mode, percent=percent, until=until)
    desired.write(server.models / "m", Desired(policy="all", default=1, trial=trial))
    server.wait(lambda: overview(server)["trial"] == trial.model_dump(mode="json"))


def counts(server) -> Counter[str]:
    """Every perennial counter, as `name model version status`."""
    text = httpx.get(f"{server.url}/monitoring/prometheus/metrics").text
    found: Counter[str] = Counter()
    for name, labels, value in re.findall(r"^perennial_(\w+)\{(.*?)\} (\S+)$", text, re.MULTILINE):
        said = dict(re.findall(r'(\w+)="(.*?)"', labels))
        values = [said[label] for label in ("model", "version", "status") if label in said]
        if "le" not in said:
            found[" ".join([name, *values])] = float(value)
    return found


def ask(server, x: float = 0.5, path: str = "/v1/models/m:predict", **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.post(path, {"instances": [x]}, **names)


def by(reply) -> int:
    assert reply.status_code == 200, reply.text
    return int(reply.headers["perennial-version"])


def test_a_canary_answers_its_share_of_the_keys_and_always_the_same_ones(server):
    try_out(server, 2, "canary", percent=30)
    keys = [f"customer {number}" for number in range(60)]
    wanted = {key: 2 if is_chosen("m", key, 30) else 1 for key in keys}
    assert 5 < sum(version == 2 for version in wanted.values()) < 35
    for _ in range(2):
        assert {key: by(ask(server, perennial_key=key)) for key in keys} == wanted
    assert ask(server, perennial_key=next(k for k in keys if wanted[k] == 2)).json() == {
        "predictions": [1.0]
    }


def test_without_a_key_the_prediction_id_decides(server):
    try_out(server, 2, "canary", percent=50)
    replies = [ask(server) for _ in range(40)]
    for reply in replies:
        chosen = is_chosen("m", reply.headers["perennial-prediction-id"], 50)
        assert by(reply) == (2 if chosen else 1)
    assert len({by(reply) for reply in replies}) == 2


def test_who_names_a_version_or_a_label_or_probes_is_no_part_of_a_trial(server):
    try_out(server, 2, "canary")
    assert by(ask(server)) == 2
    assert by(ask(server, path="/v1/models/m/versions/1:predict")) == 1
    assert by(ask(server, perennial_probe="true")) == 1


def test_a_request_that_the_candidate_fails_is_answered_by_the_default_and_counted(server):
    try_out(server, 3, "canary")
    before = counts(server)
    reply = ask(server, -1.0)
    assert (by(reply), reply.json()) == (1, {"predictions": [-1.0]})
    assert by(ask(server, 1.0)) == 3
    found = counts(server) - before
    assert found["requests_total m 3 INVALID_ARGUMENT"] == 1
    assert found["requests_total m 3 OK"] == 1
    assert found["requests_total m 1 OK"] == 1
    assert found["rows_total m 3"] == found["rows_total m 1"] == 1
    assert found["request_seconds_count m 3"] == 2


def test_a_client_s_mistake_is_told_to_the_client_whoever_is_asked(server):
    try_out(server, 2, "canary")
    refused = server.post("/v1/models/m:predict", {"instances": ["text"]})
    assert refused.status_code == 400
    assert "not of expected type: float" in refused.json()["error"]


def test_rows_with_a_nan_are_counted(server):
    try_out(server, 4, "canary")
    before = counts(server)
    reply = server.post("/v1/models/m:predict", {"instances": [1.0, 3.0, 1.0]})
    assert by(reply) == 4
    found = counts(server) - before
    assert (found["nonfinite_rows_total m 4"], found["rows_total m 4"]) == (2, 3)


def test_a_shadow_answers_in_the_background_and_its_disagreements_are_counted(server):
    try_out(server, 2, "shadow")
    before = counts(server)
    replies = [server.post("/v1/models/m:predict", {"instances": [0.0, 0.5]}) for _ in range(5)]
    assert {by(reply) for reply in replies} == {1}
    server.wait(lambda: (counts(server) - before)["shadow_rows_total m 2"] == 10)
    found = counts(server) - before
    assert found["shadow_disagreements_total m 2"] == 5
    assert found["requests_total m 1 OK"] == 5
    assert not found["requests_total m 2 OK"]
    folder = Store(server.store).observations("m")
    identity = replies[0].headers["perennial-prediction-id"]

    def logged(kind: str) -> str:
        return "".join(path.read_text() for path in folder.glob(f"{kind}/*/*.jsonl"))

    server.wait(lambda: f'"{identity}-1"' in logged("shadow"))
    server.wait(lambda: f'"{identity}-1"' in logged("predictions"))
    assert '"version":2' in logged("shadow")
    assert '"version":1' not in logged("shadow")


def test_a_difference_below_a_thousandth_is_no_disagreement(server):
    try_out(server, 5, "shadow")
    before = counts(server)
    ask(server, 0.5)
    server.wait(lambda: (counts(server) - before)["shadow_rows_total m 5"] == 1)
    assert not (counts(server) - before)["shadow_disagreements_total m 5"]


def test_a_shadow_s_failure_is_its_own(server):
    try_out(server, 3, "shadow")
    before = counts(server)
    assert by(ask(server, -1.0)) == 1
    server.wait(lambda: (counts(server) - before)["shadow_errors_total m 3"] == 1)


def test_a_trial_ends_by_itself(server):
    try_out(server, 2, "canary", seconds=2)
    assert by(ask(server)) == 2
    server.wait(lambda: overview(server)["trial"] is None)
    assert by(ask(server)) == 1


def test_a_broken_desired_state_is_readable_and_changes_nothing(server):
    try_out(server, 2, "canary")
    (server.models / "m" / desired.FILE).write_text("{")
    server.wait(lambda: overview(server)["desired_error"])
    assert "desired.json is no desired state" in overview(server)["desired_error"]
    assert counts(server)["desired_state_invalid m"] == 1
    assert by(ask(server)) == 2
    assert "the last good desired state stays in force" in server.log()
    try_out(server, 2, "canary")
    assert counts(server)["desired_state_invalid m"] == 0


def test_a_slow_shadow_delays_nobody_and_what_does_not_fit_is_dropped(tmp_path):
    server = Server(tmp_path)
    tiny.publish(server.models, "m", 1, tiny.times(1))
    tiny.publish(server.models, "m", 2, slow)
    until = clock.text(clock.now() + timedelta(seconds=600))
    trial = Trial(version=2, mode="shadow", percent=100, until=until)
    desired.write(server.models / "m", Desired(policy="all", default=1, trial=trial))
    try:
        server.start()
        server.wait(lambda: server.answers("/v1/models/m/versions/2"))
        server.wait(lambda: overview(server)["trial"] is not None)
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for _ in range(300):
                reply = client.post("/v1/models/m:predict", json={"instances": [-1.0]})
                assert by(reply) == 1
        found = counts(server)
        assert found["shadow_dropped_total m 2"] > 0
        assert found["shadow_rows_total m 2"] < 300
        assert found["requests_total m 1 OK"] == 300
    finally:
        server.kill()


def test_a_candidate_that_hangs_is_left_in_time_for_the_default_to_answer(tmp_path, monkeypatch):
    import asyncio

    from pipeline_tasks.serving.asking import Asked
    from pipeline_tasks.serving.rest.codec import Batch
    from pipeline_tasks.serving.service import Service
    from pipeline_tasks.serving.versions.model import load
    from pipeline_tasks.serving.versions.watched import Versions

    models = tmp_path / "models"
    tiny.publish(models, "m", 1, tiny.times(1))
    tiny.publish(models, "m", 2, slow)
    until = clock.text(clock.now() + timedelta(seconds=600))
    trial = Trial(version=2, mode="canary", percent=100, until=until)
    desired.write(models / "m", Desired(policy="all", default=1, trial=trial))
    versions = Versions(models, load=load)
    service = Service(versions, store=None)
    array = tf.constant([-1.0]).numpy()

    async def ask_twice():
        while not versions.is_known("m") or versions.table("m").trial is None:
            versions.poll()
            await asyncio.sleep(0.05)
        await service.predict(Asked("m", version=1), lambda _: Batch({"x": array}, 1))
        asked = Asked("m", deadline=time.monotonic() + 1)
        return await service.predict(asked, lambda _: Batch({"x": array}, 1))

    answer = asyncio.run(ask_twice())
    assert answer.version == 1
    assert service.metrics.of("m", 2).requests == {"DEADLINE_EXCEEDED": 1}
    service.close()
