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


BROKEN = """
import sys
sys.modules["perennial.ui.app"] = None
from perennial_plugin import PerennialPlugin

print(PerennialPlugin().fastapi_apps)
"""


def said(code: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_without_its_pages_airflow_goes_on_and_says_why():
    done = said(BROKEN)
    assert done.stdout.endswith("[]\n")
    assert "Perennial has no pages" in done.stderr + done.stdout


def test_the_pages_are_imported_only_where_they_are_asked_for():
    before, *_, after = said(ASK).stdout.splitlines()
    assert (before, after) == ("False False", "True /perennial")
