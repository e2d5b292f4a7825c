"""What Airflow registers: read by each of its processes, and imported by its server alone."""

from __future__ import annotations

import os
import subprocess
import sys

from pipeline_tasks.config import PROJECT

ASK = """
import sys
from perennial_plugin import PerennialPlugin

plugin = PerennialPlugin()
print("perennial.ui.app" in sys.modules, "fastapi" in sys.modules)
[found] = plugin.fastapi_apps
print("perennial.ui.app" in sys.modules, found["url_prefix"])
"""


def test_the_pages_are_imported_only_where_they_are_asked_for():
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=os.environ | {"PYTHONPATH": paths}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, *_, after = done.stdout.splitlines()
    assert (before, after) == ("False False", "True /perennial")
