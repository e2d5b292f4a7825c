"""The target `tf_serving`: models.config in TensorFlow Serving's words, and its REST interface.

Our own server, which speaks the same REST and follows the same desired state, stands in for it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from pipeline_tasks import config, loop
from pipeline_tasks.core.errors import ConfigError, TransientError
from pipeline_tasks.core.store import MANIFEST
from pipeline_tasks.release import desired, models_config
from tests.server import Server
from tests.small import write_small


def parsed(models) -> dict[str, object]:
    found = text_format.Parse((models / models_config.FILE).read_text(), ModelServerConfig())
    return {one.name: one for one in found.model_config_list.config}


def versions(models, name: str, *numbers: int):
    for number in numbers:
        (models / name / str(number)).mkdir(parents=True)
        (models / name / str(number) / MANIFEST).write_text("{}")
    return models / name


def test_models_config_loads_only_what_answers_by_default_and_names_only_that(tmp_path):
    folder = versions(tmp_path, "small", 3, 4)
    trial = desired.Trial(version=4, mode="canary", percent=10, until="2026-01-01T00:00:00.000Z")
    desired.write(folder, desired.beside(3, 4, trial))
    versions(tmp_path, "plain", 7)
    versions(tmp_path, "empty")
    models_config.write(tmp_path, "/models/")
    found = parsed(tmp_path)
    assert sorted(found) == ["plain", "small"]
    small = found["small"]
    assert (small.base_path, small.model_platform) == ("/models/small", "tensorflow")
    assert list(small.model_version_policy.specific.versions) == [3]
    assert dict(small.version_labels) == {"champion": 3, "stable": 3}
    assert found["plain"].model_version_policy.latest.num_versions == 1


def test_a_strategy_that_tf_serving_cannot_do_is_refused_when_the_file_is_read(tmp_path):
    made = write_small(tmp_path, target={"kind": "tf_serving"}, deployment={"strategy": "canary"})
    with pytest.raises(ConfigError, match=r"strategy canary needs a target .* the highest answers"):
        config.load(made.yaml)


def test_a_version_is_deployed_confirmed_and_rolled_back(tmp_path, monkeypatch):
    server = Server(tmp_path).start()
    try:
        monkeypatch.setenv("PERENNIAL_TF_SERVING", server.url)
        made = write_small(
            tmp_path,
            target={"kind": "tf_serving"},
            promotion={"minimum": 0.0, "margin": 1.0, "slice_margin": 1.0},
        )
        left = made.steps("first", until="bake")
        assert "not watched" in left["bake"].summary["reasons"]
        lines = made.csv.read_text().splitlines()
        made.csv.write_text("\n".join(lines[:350]) + "\n")
        assert made.steps("second", until="bake")["deploy"].summary["version"] == 2
        assert list(parsed(server.models)["small"].model_version_policy.specific.versions) == [2]
        back = loop.function("rollback")(made.run("back"), version=1, reason="to see it go back")
        assert back.summary["seconds_to_effect"] >= 0
        assert list(parsed(server.models)["small"].model_version_policy.specific.versions) == [1]
        assert dict(parsed(server.models)["small"].version_labels) == {"champion": 1, "stable": 1}
        server.kill()
        run = replace(made.run("nobody"), force=True)
        with pytest.raises(TransientError, match="no answer from"):
            loop.function("rollback")(run, version=2, reason="nobody answers")
    finally:
        server.kill()
