"""What the README tells people to type, typed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from pipeline_tasks import config
from pipeline_tasks.serving.processes import options
from tests.server import PROJECT, environment

PAGES = ("README.md", "docs/serving.md")
README = "\n".join((PROJECT / page).read_text() for page in PAGES)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    joined = "\n".join(blocks("sh")).replace("\\\n", " ")
    found = [line.split("  #")[0].strip() for line in joined.splitlines()]
    return [line for line in [*found, *re.findall(r"`(make [^`]+)`", README)] if line]


@pytest.mark.parametrize("line", sorted({line for line in commands() if line.startswith("make ")}))
def test_a_make_command_is_one_the_makefile_knows(line):
    done = subprocess.run(
        ["make", "--dry-run", "--assume-old=.venv/installed", *shlex.split(line)[1:]],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "python" in done.stdout


@pytest.mark.parametrize("line", [line for line in commands() if " -m pipeline_tasks " in line])
def test_a_command_without_airflow_does_what_it_says(line, tmp_path):
    program, *words = shlex.split(line)
    if not (PROJECT / program).exists():
        pytest.skip(f"no {program} here")
    env = environment(PERENNIAL_HOME=str(tmp_path), PERENNIAL_SERVER="http://127.0.0.1:9")
    words += ["--until", "verify"] if "run" in words else []
    done = subprocess.run(
        [program, *words],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends = {"run": "verify: done", "tune": "choose: done", "replay": "triggered"}
    assert ends.get(words[2], "digits") in done.stdout


def test_a_server_for_other_machines_is_started_as_it_says(tmp_path):
    makes, starts = [line for line in commands() if " -m pipeline_tasks.serving" in line]
    program, *words = shlex.split(makes)
    env = environment(PYTHONPATH=str(PROJECT))
    done = subprocess.run(
        [PROJECT / program, *words],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] not in (tmp_path / "tokens.yaml").read_text()
    arguments = options.parse(shlex.split(starts)[3:])
    arguments.tokens = tmp_path / arguments.tokens
    assert options.tokens(arguments)


def test_the_example_of_a_pipeline_is_a_pipeline(tmp_path):
    [text] = blocks("yaml")
    path = tmp_path / "churn.yaml"
    path.write_text(text)
    pipeline = config.load(path)
    assert pipeline.label.name == "left"


def test_the_curl_commands_work_against_the_real_server(live):
    found = [line for line in commands() if line.startswith("curl ")]
    assert len(found) == 4
    identity = ""
    for line in found:
        words = shlex.split(line.replace("http://127.0.0.1:8501", live.local.server))
        words = [word.replace("<id>", identity) for word in words]
        done = subprocess.run(
            [*words, "--silent", "--include"], capture_output=True, text=True, check=True
        )
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        assert head.startswith("HTTP/1.1 200"), done.stdout
        json.loads(body)
        if line.endswith(":predict"):
            identity = re.search(r"perennial-prediction-id: (\w+)", head)[1]
            assert json.loads(body)["predictions"][0]["label"] == 0


def test_the_settings_are_the_ones_the_launcher_reads():
    names = set(re.findall(r"^\| `(PERENNIAL_\w+)`", README, re.MULTILINE))
    code = "".join(
        path.read_text()
        for folder in ("local", "pipeline_tasks")
        for path in Path(PROJECT / folder).rglob("*.py")
    )
    assert {name for name in names if f'"{name}"' in code} == names
