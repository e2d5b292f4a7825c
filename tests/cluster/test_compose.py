"""docker-compose.yaml, checked against the project and the installed Airflow without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline_tasks.release import models_config
from tests.cluster.run_cluster import Cluster
from tests.server import PROJECT, environment

COMPOSE = PROJECT / "docker-compose.yaml"
OURS = ["init", "api-server", "scheduler", "dag-processor", "triggerer", "worker", "gateway"]
SECRET = re.compile(r"PASSWORD|SECRET|KEY|TOKEN$")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE.read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def text_of(value) -> str:
    return value if isinstance(value, str) else " ".join(value or [])


def test_every_part_of_the_cluster_is_there(services):
    assert {*OURS, "postgres", "redis", "tensorflow-serving"} == set(services)
    assert {services[name]["image"] for name in OURS} == {"perennial:0.1.0"}
    assert [name for name, service in services.items() if "build" in service] == ["init"]


def test_airflow_commands_exist_in_the_airflow_we_ship(services, tmp_path):
    cluster_only = {("celery", "worker"), ("users", "create"), ("roles", "add-perms")}
    found = set()
    for name in OURS:
        for words in re.findall(r"airflow ((?:[a-z-]+ ?)+)", text_of(services[name]["command"])):
            found.add(tuple(words.split()[:2]))
    assert cluster_only <= found, "they come with the providers of requirements-cluster.txt"
    for words in found - cluster_only:
        subprocess.run(
            [str(Path(sys.executable).with_name("airflow")), *words, "--help"],
            check=True,
            capture_output=True,
            env=environment(AIRFLOW_HOME=str(tmp_path)),
        )


def test_the_gateway_is_our_server_with_options_it_knows(services):
    command = services["gateway"]["command"]
    assert command[:3] == ["python", "-m", "pipeline_tasks.serving"]
    help_text = subprocess.run(
        [sys.executable, *command[1:3], "--help"],
        check=True,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment(),
    ).stdout
    for word in command[3:]:
        assert not word.startswith("--") or word in help_text


def test_every_airflow_setting_is_one_airflow_knows(services):
    from airflow.configuration import conf

    provided_by = {"celery"}
    known = conf.configuration_description
    for name in OURS:
        for key in services[name].get("environment", {}):
            if not key.startswith("AIRFLOW__"):
                continue
            _, section, option = key.lower().split("__", 2)
            if section not in provided_by:
                assert option in known[section]["options"], key


def test_every_perennial_variable_is_one_the_code_reads(services):
    code = "".join(
        path.read_text()
        for name in ("pipeline_tasks", "plugins")
        for path in (PROJECT / name).rglob("*.py")
    )
    for name in OURS:
        for key in services[name].get("environment", {}):
            if key.startswith("PERENNIAL_") and key != "PERENNIAL_ADMIN_PASSWORD":
                assert f'"{key}"' in code, key


def test_where_things_are_fits_the_volumes_and_the_image(services, compose):
    image = (PROJECT / "Dockerfile").read_text()
    folder = re.search(r"^WORKDIR (\S+)$", image, re.MULTILINE)[1]
    shared = services["worker"]["environment"]
    assert shared["AIRFLOW__CORE__DAGS_FOLDER"] == f"{folder}/dags"
    assert shared["AIRFLOW__CORE__PLUGINS_FOLDER"] == f"{folder}/plugins"
    assert f"PYTHONPATH={folder}:{folder}/plugins" in image
    for copied in re.findall(r"^COPY .*?(\w+) (\w+)$", image, re.MULTILINE):
        assert (PROJECT / copied[0]).is_dir()
    mounted = {}
    for service in services.values():
        for volume in service.get("volumes", []):
            if isinstance(volume, dict):
                name, target = volume["source"], volume["target"]
            else:
                name, target = volume.split(":")
            assert name in compose["volumes"], volume
            mounted.setdefault(name, set()).add(target)
    assert shared["PERENNIAL_STORE"] in mounted["store"]
    assert shared["PERENNIAL_MODELS"] in mounted["models"]
    for name in ("store", "models", "logs"):
        assert f"/data/{name}" in image, "made, and owned by the image's user"
    [foreign] = services["tensorflow-serving"]["volumes"]
    assert foreign["volume"] == {"nocopy": True}, "or an empty volume would become root's"


def test_the_gateway_shares_store_and_models_with_the_workers(services):
    gateway, worker = services["gateway"], services["worker"]
    for key in ("PERENNIAL_STORE", "PERENNIAL_MODELS"):
        assert gateway["environment"][key] == worker["environment"][key]
    assert set(gateway["volumes"]) <= set(worker["volumes"])
    assert worker["environment"]["PERENNIAL_SERVER"] == "http://gateway:8501"


def test_the_gateway_wants_the_token_that_the_workers_send(services):
    gateway, worker = services["gateway"]["environment"], services["worker"]["environment"]
    assert gateway["PERENNIAL_SERVER_TOKEN"] == worker["PERENNIAL_SERVER_TOKEN"]
    assert "--behind-proxy" not in services["gateway"]["command"]


def test_tensorflow_serving_follows_the_config_that_deployments_write(services):
    command = dict(word[2:].split("=") for word in services["tensorflow-serving"]["command"])
    config = f"{models_config.BASE_PATH}/{models_config.FILE}"
    assert command["model_config_file"] == config
    assert int(command["model_config_file_poll_wait_seconds"]) > 0
    [volume] = services["tensorflow-serving"]["volumes"]
    assert (volume["source"], volume["target"]) == ("models", models_config.BASE_PATH)
    assert volume["read_only"]
    address = f"http://tensorflow-serving:{command['rest_api_port']}"
    assert services["worker"]["environment"]["PERENNIAL_TF_SERVING"] == address


def test_dependencies_and_addresses_name_services_that_exist(services):
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
    shared = services["worker"]["environment"]
    for key in ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CELERY__BROKER_URL"):
        host = re.search(r"@([a-z-]+)[:/]", shared[key])[1]
        assert host in services


def test_what_runs_it_without_docker_leaves_no_place_of_a_container(services, tmp_path):
    cluster = Cluster(tmp_path, 5432)
    there = re.compile(r"(postgres|redis|api-server|gateway|localhost)[:/]\d|/opt/|\$\{|^/data")
    for name in [*OURS, "redis"]:
        environment = cluster.environment(name)
        words = [cluster.here(word) for word in services[name]["command"]]
        assert not [one for one in [*environment.values(), *words] if there.search(one)]
        if name != "redis":
            assert environment["PERENNIAL_STORE"] == str(tmp_path / "data" / "store")


def test_ports_are_open_to_this_machine_only(services):
    for service in services.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_secrets_come_from_outside_and_each_is_in_the_example(services):
    example = (PROJECT / ".env.example").read_text()
    for service in services.values():
        for key, value in (service.get("environment") or {}).items():
            if SECRET.search(key):
                assert str(value).startswith("${PERENNIAL_"), key
    for name in set(re.findall(r"\$\{(PERENNIAL_\w+)", COMPOSE.read_text())):
        assert re.search(rf"^{name}=$", example, re.MULTILINE), name


def test_what_the_cluster_installs_is_locked():
    for name in ("requirements", "requirements-cluster", "requirements-dev"):
        text = (PROJECT / f"{name}.txt").read_text()
        for line in text.splitlines():
            if re.match(r"^[a-z]", line, re.IGNORECASE):
                assert "==" in line, line
        assert "--hash=sha256:" in text
    cluster = (PROJECT / "requirements-cluster.txt").read_text()
    for package in ("apache-airflow-providers-celery", "psycopg2-binary", "redis"):
        assert f"{package}==" in cluster
