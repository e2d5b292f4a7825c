"""The whole loop on a store in a bucket, without Airflow: a real local S3 server."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest

from pipeline_tasks import loop, observations
from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.core.values import Answer
from pipeline_tasks.pages import run_page
from pipeline_tasks.release import publishing
from tests import s3
from tests.faults.test_kill_in_training import train
from tests.server import Server
from tests.small import write_small
from tests.unit.test_command_line import command
from tests.unit.test_loop_steps import observe

TUNING = {"parameters": {"training.learning_rate": {"low": 0.001, "high": 0.1}}, "trials": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The small pipeline, trained once from the command line; the store is in a bucket."""
    with s3.running() as address, pytest.MonkeyPatch.context() as patch:
        made = write_small(
            tmp_path_factory.mktemp("loop"),
            promotion={"minimum": 0.0},  # of rows from before production changed
            monitoring={"minimum_rows": 100, "quality_drop": 0.05},
            retraining={"recent_share": 0.4, "cooldown_minutes": 0},
            tuning=TUNING,
            storage={"kind": "parquet"},
        )
        made.uri = s3.bucket(address, patch)
        patch.setenv("PERENNIAL_STORE", made.uri)
        done = command(made, "run", "small")
        assert done.returncode == 0, done.stderr
        assert "deploy: done" in done.stdout
        yield made


def test_everything_is_in_the_bucket_and_no_secret_is(made):
    keys = list(Bucket(made.uri).sizes("small"))
    for name in ("raw", "checked", "prepared", "model", "evaluation", "exported", "deployment"):
        assert [key for key in keys if key.endswith(f"/{name}/manifest.json")]
    assert not (made.folder / "home" / "store").exists()
    texts = Bucket(made.uri).read_all(f"small/{key}" for key in keys if key.endswith(".json"))
    assert not any(s3.SECRET in text for text in texts.values())


@pytest.mark.parametrize("machine", ["home", "another home"])
def test_an_unchanged_run_reuses_what_is_there(made, machine):
    done = command(made, "run", "small", "--until", "evaluate", home=machine)
    assert done.returncode == 0, done.stderr
    for step in ("ingest", "check", "prepare", "train", "evaluate"):
        assert f"{step}: reused from run cli__" in done.stdout


def test_training_killed_on_one_machine_goes_on_on_another(made):
    made.yaml.write_text(made.yaml.read_text().replace("epochs: 5", "epochs: 6"))
    assert train(made, killed_in=4) == -signal.SIGKILL
    config = made.run().config
    shown = run_page.progress(made.run().store, config, "same", None)
    assert (shown.done, shown.epochs) == (3, 6)
    other = replace(made, folder=made.folder / "another machine")
    left = other.steps("same", until="train")["train"]
    curves = json.loads((made.run().open(left) / "curves.json").read_text())
    assert curves["resumed_after"] == [3]
    assert len(curves["loss"]) == 6
    assert run_page.progress(made.run().store, config, "same", None) is None
    assert not Bucket(made.uri).sizes("small/scratch/same/train")


def test_production_is_watched_retrained_and_rolled_back(made):
    observe(made, 600, seed=2)
    look = made.run("look")
    window = loop.function("collect")(look)
    loop.function("monitor")(look, window=window)
    record = look.store.undecided("small")
    assert record is not None
    assert record.verdict.answer is Answer.YES
    loop.function("decide")(made.run("decide"), subject=record.id)
    assert made.run().store.undecided("small") is None
    after = made.steps("second")
    assert after["ingest"].summary["observations"] > 550  # all but some before the change was plain
    assert made.run().store.champion("small").version == 2
    loop.function("rollback")(made.run("back"), version=None, reason="a look at the first again")
    store = made.run().store
    assert store.champion("small").version == 1
    events = [entry.event for entry in store.history("small")]
    assert events == ["promotion", "retraining", "promotion", "rollback"]


def test_parameters_are_searched(made):
    *_, (_, chosen) = loop.tune(made.run("tuning"))
    content = json.loads((made.run().open(chosen) / "trials.json").read_text())
    assert len(content["trials"]) == 2


def test_what_a_server_has_logged_reaches_the_workers(made, tmp_path):
    exported = made.run().store.champion("small").exported
    publishing.publish(made.run().open(exported), tmp_path / "models" / "small")
    home = str(tmp_path / "home")
    server = Server(tmp_path, options=["--store", made.uri], PERENNIAL_HOME=home).start()
    server.wait(lambda: server.answers("/readyz"))
    row = {"width": 0.5, "height": 0.25, "colour": "red"}
    reply = server.post("/v1/models/small:predict", {"instances": [row]})
    identity = f"{reply.headers['perennial-prediction-id']}-0"
    server.post("/v1/models/small:label", {"id": identity, "label": 1})
    server.stop()
    assert s3.SECRET not in server.log()
    [found] = [
        one
        for one in observations.labelled(made.run().observations())
        if one.prediction.id == identity
    ]
    assert (found.prediction.inputs, found.label.label) == (row, 1)
