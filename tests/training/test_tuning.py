"""Tuning: trials share a study, bad ones are pruned, and the best is named with its reasons."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml

from pipeline_tasks import config, loop
from pipeline_tasks.core.errors import ConfigError, TrainingError
from tests.server import PROJECT, environment
from tests.small import write_small

TRAINING = {"epochs": 6, "batch_size": 32, "learning_rate": 0.03, "patience": 0}
TUNING = {
    "parameters": {
        "training.learning_rate": {"low": 0.0001, "high": 0.1, "log": True},
        "model.hidden": {"choices": [[4], [8]]},
        "training.batch_size": {"low": 16, "high": 64},
    },
    "trials": 8,
}


def tuned(made, run_id="tuning"):
    return [left for _, left in loop.tune(made.run(run_id))]


def test_the_best_trial_is_named_with_reasons_and_what_to_write_into_the_file(small):
    made = small(training=TRAINING, tuning=TUNING)
    *_, chosen = tuned(made)
    folder = made.run().open(chosen)
    content = json.loads((folder / "trials.json").read_text())
    assert len(content["trials"]) == 8
    complete = [one for one in content["trials"] if one["state"] == "complete"]
    best = min(complete, key=lambda one: one["validation_loss"])
    assert content["best"] == best["parameters"]
    assert f"trial {best['number']} has the least validation loss" in content["reasons"][0]
    assert any(one["state"] == "pruned" for one in content["trials"])
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    sections = yaml.safe_load((folder / "best.yaml").read_text())
    file = yaml.safe_load(made.yaml.read_text())
    made.yaml.write_text(yaml.safe_dump(file | sections, sort_keys=False))
    left = made.steps("after", until="train")
    assert left["train"].summary["validation_loss"] == pytest.approx(best["validation_loss"])


def test_processes_share_one_study(small):
    made = small(training=TRAINING, tuning=TUNING | {"trials": 4})
    prepared = made.steps("tuning", until="prepare")["prepare"]
    code = (
        "import sys; from pathlib import Path; from tests.small import Small; "
        "from pipeline_tasks import loop; from pipeline_tasks.core.values import Ref; "
        "folder = Path(sys.argv[1]); run = Small(folder, folder / 'rows.csv', folder / "
        "'small.yaml').run('tuning'); ref = Ref.model_validate_json(sys.argv[2]); "
        "[loop.function('trial')(run, prepared=ref, slot=int(slot)) for slot in sys.argv[3:]]"
    )
    command = [sys.executable, "-c", code, str(made.folder), prepared.model_dump_json()]
    workers = [
        subprocess.Popen([*command, *slots], cwd=PROJECT, env=environment())
        for slots in (("0", "1"), ("2", "3"))
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    chosen = loop.function("choose")(made.run("tuning"))
    assert chosen.summary["trials"] == 4


def test_a_killed_trial_goes_on_with_its_parameters_at_the_next_epoch(small):
    made = small(training=TRAINING, tuning=TUNING | {"trials": 1})
    prepared = made.steps("tuning", until="prepare")["prepare"]
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.small import Small; "
        "from pipeline_tasks import loop; from pipeline_tasks.core.values import Ref; "
        "from pipeline_tasks.learning import fitting; order = fitting._order\n"
        "def order_or_die(training, seed, epoch):\n"
        "    if epoch == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return order(training, seed, epoch)\n"
        "fitting._order = order_or_die\n"
        "folder = Path(sys.argv[1]); run = Small(folder, folder / 'rows.csv', folder / "
        "'small.yaml').run('tuning'); ref = Ref.model_validate_json(sys.argv[2])\n"
        "loop.function('trial')(run, prepared=ref, slot=0)"
    )
    command = [sys.executable, "-c", code, str(made.folder), prepared.model_dump_json()]
    killed = subprocess.run(command, cwd=PROJECT, env=environment(), check=False)
    assert killed.returncode == -signal.SIGKILL
    left = loop.function("trial")(made.run("tuning"), prepared=prepared, slot=0)
    assert left.summary["number"] == 0
    assert left.summary["epochs"] == 6
    chosen = loop.function("choose")(made.run("tuning"))
    assert chosen.summary["trials"] == 1


def test_no_trial_starts_after_the_budget_in_minutes(small):
    made = small(training=TRAINING, tuning=TUNING | {"minutes": 1e-9, "trials": 2})
    run = made.run("tuning")
    prepared = made.steps("tuning", until="prepare")["prepare"]
    for slot in range(2):
        left = loop.function("trial")(run, prepared=prepared, slot=slot)
        assert left.summary["state"] == "over budget"
    with pytest.raises(TrainingError, match="none of 0 trials was completed"):
        loop.function("choose")(run)


def test_a_trial_with_a_loss_that_is_not_finite_fails_and_the_search_goes_on(small):
    parameters = {"training.learning_rate": {"choices": [0.03]}, "model.l2": {"choices": [1e38]}}
    made = small(training=TRAINING, tuning={"parameters": parameters, "trials": 1})
    prepared = made.steps("tuning", until="prepare")["prepare"]
    left = loop.function("trial")(made.run("tuning"), prepared=prepared, slot=0)
    assert left.summary["state"] == "failed"
    assert "not finite" in left.summary["reason"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model.droput": {"low": 0.0, "high": 0.5}}, "droput"),
        ({"training.epochs": {"low": 0, "high": 5}}, "greater than or equal to 1"),
        ({"model.dropout": {"low": 0.5, "high": 0.1}}, "must be below high"),
        ({"model.dropout": {"low": 0.0, "high": 0.1, "log": True}}, "log needs a `low` above 0"),
        ({"model.dropout": {}}, "either `low` and `high`, or `choices`"),
    ],
)
def test_a_parameter_that_cannot_be_is_a_mistake_in_the_file(tmp_path, parameters, message):
    made = write_small(tmp_path, tuning={"parameters": parameters})
    with pytest.raises(ConfigError, match=message):
        config.load(made.yaml)
