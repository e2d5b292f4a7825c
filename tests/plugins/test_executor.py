"""Tasks are forks of a process that has imported TensorFlow, and nothing more than imported."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.server import PROJECT, environment

FORK = """
import os, sys
from perennial.executor import preload
preload("tensorflow,pandas")
child = os.fork()
if child == 0:
    assert "tensorflow" in sys.modules
    from pathlib import Path
    from tests.small import write_small
    write_small(Path(sys.argv[1])).steps(until="train")
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
OPERATION = """
import tensorflow as tf
tf.constant(1)
from perennial.executor import preload
preload("tensorflow")
"""
NOTHING = """
import sys
from perennial.executor import preload
preload("")
assert "tensorflow" not in sys.modules
"""


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    home = {"AIRFLOW_HOME": os.environ["AIRFLOW_HOME"]}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=PROJECT,
        env=environment(**home),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_fork_of_the_preloaded_process_trains(tmp_path):
    done = python(FORK, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "store" / "small" / "runs" / "run" / "model" / "manifest.json").is_file()


def test_an_operation_before_the_fork_is_refused_with_what_to_look_for():
    done = python(OPERATION)
    assert done.returncode == 1
    assert "its forks would hang" in done.stderr
    assert "PERENNIAL_PRELOAD" in done.stderr


def test_preloading_can_be_turned_off():
    done = python(NOTHING)
    assert done.returncode == 0, done.stderr
