"""The DAGs as Airflow reads them: their tasks, forms, docs, schedules and assets."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from perennial.failure import FailureNotifier
from tests.server import PROJECT, environment
from tests.small import THREE_MISTAKES

HEAVY = ["tensorflow", "keras", "pandas", "numpy", "sklearn", "scipy", "matplotlib", "pandera"]
FILES = sorted(path.name for path in (PROJECT / "dags").glob("*.py"))
LOOP = ["ingest", "check", "prepare", "train", "evaluate", "gate", "export", "verify"]
RELEASE = ["publish", "deploy", "bake"]


@pytest.fixture(scope="module")
def dags():
    found, errors = read(PROJECT / "dags" / "pipelines")
    assert not errors
    return {name: dag for name, dag in found.items() if name.startswith("digits__")}


def read(pipelines: Path):
    """Airflow's DagBag of our DAG files, and its import errors."""
    from airflow.dag_processing.dagbag import DagBag

    os.environ["PERENNIAL_PIPELINES"] = str(pipelines)
    try:
        bag = DagBag(dag_folder=PROJECT / "dags")
    finally:
        del os.environ["PERENNIAL_PIPELINES"]
    return bag.dags, bag.import_errors


def chain(dag) -> list[str]:
    return [task.task_id for task in dag.topological_sort()]


KINDS = ["monitor", "retrain", "rollback", "train", "tune"]


def test_one_pipeline_file_is_its_dags(dags):
    assert sorted(dags) == [f"digits__{name}" for name in KINDS]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_fails_for_good_is_told(dags, kind):
    dag = dags[f"digits__{kind}"]
    assert isinstance(dag.on_failure_callback, FailureNotifier)
    silent = [task.task_id for task in dag.tasks if not task.on_failure_callback]
    assert silent == (["end"] if kind == "train" else [])


def test_the_training_loop_is_one_chain_from_data_to_deployment(dags):
    assert_one_chain(dags["digits__train"], [*LOOP, *RELEASE], release=RELEASE)


def assert_one_chain(dag, tasks, *, release):
    """A chain, and beside its last part the task that takes the candidate away again."""
    assert sorted(chain(dag)) == sorted([*tasks, "end", "withdraw"])
    for earlier, later in itertools.pairwise(tasks):
        also = {"withdraw"} if earlier in release else set()
        assert dag.get_task(earlier).downstream_task_ids == {later} | also
    assert dag.get_task(tasks[-1]).downstream_task_ids == {"end", "withdraw"}
    assert dag.get_task("withdraw").downstream_task_ids == {"end"}
    assert dag.get_task("withdraw").is_teardown
    # Only a teardown runs in a run that a person has marked as failed.
    assert dag.get_task("end").is_teardown
    assert dag.get_task("end").on_failure_fail_dagrun


def test_what_is_refit_is_refit_after_the_gate_and_exported(tmp_path):
    content = yaml.safe_load((PROJECT / "dags" / "pipelines" / "digits.yaml").read_text())
    changes = {"retraining": {"refit": True}}
    (tmp_path / "fresh.yaml").write_text(yaml.safe_dump(content | changes))
    found, errors = read(tmp_path)
    assert not errors
    at = LOOP.index("export")
    dag = found["fresh__train"]
    assert_one_chain(dag, [*LOOP[:at], "refit", *LOOP[at:], *RELEASE], release=RELEASE)
    assert dag.get_task("export").inputs["model"] == "refit"
    assert dag.get_task("publish").inputs["model"] == "train", "what was proven names the version"


@pytest.mark.parametrize(
    ("deployment", "trial"),
    [
        ({"strategy": "canary", "steps": [0.5, 10]}, ["canary_0.5", "canary_10"]),
        ({"strategy": "shadow"}, ["shadow"]),
    ],
)
def test_each_step_of_a_trial_is_a_task_that_waits_without_a_slot(tmp_path, deployment, trial):
    content = yaml.safe_load((PROJECT / "dags" / "pipelines" / "digits.yaml").read_text())
    (tmp_path / "tried.yaml").write_text(yaml.safe_dump(content | {"deployment": deployment}))
    found, errors = read(tmp_path)
    assert not errors
    release = ["publish", *trial, "deploy", "bake"]
    assert_one_chain(found["tried__train"], [*LOOP, *release], release=release)
    for name in [*trial, "bake"]:
        assert type(found["tried__train"].get_task(name)).__name__ == "WatchOperator"


def test_the_other_dags_are_chains_too(dags):
    assert chain(dags["digits__monitor"]) == ["collect", "monitor", "degraded"]
    assert chain(dags["digits__retrain"]) == ["watch", "decide", "ask", "trigger"]
    assert chain(dags["digits__rollback"]) == ["rollback"]
    assert chain(dags["digits__tune"]) == ["ingest", "check", "prepare", "trial", "choose"]


def test_trials_are_mapped_tasks(dags):
    trial = dags["digits__tune"].get_task("trial")
    assert trial.is_mapped
    assert [one["slot"] for one in trial.expand_input.value["given"]] == list(range(12))


def test_every_dag_and_every_task_explains_itself(dags):
    for dag in dags.values():
        assert "digits" in dag.doc_md
        assert dag.description
        for task in dag.tasks:
            assert len(task.doc_md) > 40, task.task_id


def test_one_run_at_a_time_and_retries_that_wait_longer_each_time(dags):
    for dag in dags.values():
        assert dag.max_active_runs == 1
        for task in dag.tasks:
            assert task.retries == 3
            assert task.retry_exponential_backoff
            assert task.retry_delay < task.max_retry_delay == timedelta(minutes=10)


def test_training_runs_every_night_and_retraining_watches_all_the_time(dags):
    assert dags["digits__train"].timetable.expression == "0 2 * * *"
    assert dags["digits__monitor"].timetable.expression == "*/15 * * * *"
    assert type(dags["digits__retrain"].timetable).__name__ == "ContinuousTimetable"
    assert not any(dag.catchup for dag in dags.values())


def test_the_trigger_form_has_typed_and_described_parameters(dags):
    params = dags["digits__train"].params
    assert params["epochs"] == 60
    for name in ("epochs", "batch_size", "learning_rate", "patience", "seed", "force", "reason"):
        param = params.get_param(name)
        assert param.schema["type"]
        assert len(param.description) > 10
    with pytest.raises(Exception, match="less than the minimum"):
        params["epochs"] = 0
        params.validate()


def test_a_rollback_asks_for_a_reason(dags):
    params = dags["digits__rollback"].params
    assert params.get_param("reason").schema["minLength"] == 3
    assert params.get_param("version").schema["type"] == ["null", "integer"]


def test_assets_link_data_model_and_deployment(dags):
    dag = dags["digits__train"]

    def names(assets):
        return [asset.name for asset in assets]

    assert names(dag.get_task("prepare").outlets) == names(dag.get_task("train").inlets)
    assert names(dag.get_task("train").outlets) == names(dag.get_task("deploy").inlets)
    deployed = names(dag.get_task("deploy").outlets)
    assert deployed == ["digits deployment"]
    assert names(dags["digits__monitor"].get_task("collect").inlets) == deployed
    assert names(dags["digits__monitor"].get_task("degraded").outlets) == ["digits degraded"]


def test_the_configuration_is_passed_by_value(dags):
    content = dags["digits__train"].get_task("train").pipeline
    assert content["name"] == "digits"
    assert content["model"]["kind"] == "mlp"


def test_a_broken_file_is_one_import_error_with_every_mistake_and_the_others_run_on(tmp_path):
    good = yaml.safe_load((PROJECT / "dags" / "pipelines" / "digits.yaml").read_text())
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(good))
    (tmp_path / "broken.yaml").write_text(THREE_MISTAKES)
    dags, errors = read(tmp_path)
    assert sorted(dags) == [f"good__{name}" for name in KINDS]
    [(path, text)] = errors.items()
    assert Path(path).name == "problems.py"
    for mistake in ("broken.yaml:1: source.kind", "broken.yaml:7: model.dropout", ":9: training"):
        assert mistake in text
    assert "add pipeline_tasks/sources/cvs.py" in text


@pytest.mark.parametrize("name", FILES)
def test_parsing_a_dag_file_imports_nothing_heavy(name):
    code = (
        "import runpy, sys; import airflow.sdk; runpy.run_path(sys.argv[1]); "
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(PROJECT / "dags" / name)]
    home = {"AIRFLOW_HOME": os.environ["AIRFLOW_HOME"]}
    reply = subprocess.run(
        command, env=environment(**home), check=True, capture_output=True, text=True
    )
    assert reply.stdout.splitlines()[-1] == "[]"
