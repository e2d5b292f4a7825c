"""The loop without Airflow: the same steps, their numbers, and errors a person can read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(made, *words: str, home: str = "home") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PERENNIAL_PIPELINES": str(made.folder),
        "PERENNIAL_HOME": str(made.folder / home),
    }
    return subprocess.run(
        [sys.executable, "-m", "pipeline_tasks", *words],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_run_does_every_step_and_says_what_each_left(small):
    done = command(small(), "run", "small")
    assert done.returncode == 0, done.stderr
    for step in ("ingest", "check", "prepare", "train", "evaluate", "gate", "export", "verify"):
        assert f" {step}: done in " in done.stdout
    assert "epoch 5/5: loss" in done.stdout
    assert "deploy: done" in done.stdout
    assert "version 1" in done.stdout
    assert "champion: version 1" in command(small(), "list").stdout.lower()


def test_a_broken_row_is_a_message_and_not_a_traceback(small):
    made = small()
    made.csv.write_text(made.csv.read_text().replace("red", "purple", 1))
    done = command(made, "run", "small")
    assert done.returncode == 1
    assert "DataError: 1 values break the declared schema" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_reports_every_broken_file_and_fails(small):
    made = small()
    (made.folder / "broken.yaml").write_text("sauce: 1")
    done = command(made, "check")
    assert done.returncode == 1
    assert "small: good" in done.stdout
    assert "broken.yaml:1: sauce: no such key here" in done.stderr


def test_an_unknown_pipeline_is_a_message(small):
    done = command(small(), "run", "smal")
    assert done.returncode == 1
    assert "no pipeline is called 'smal'" in done.stderr
