"""The pipeline dags/pipelines/mnist.yaml, whole, against the plainest Keras script on MNIST.

Three seeds, all shown: accuracy on the 10,000 test digits, which neither training nor the choice of
the model has seen, and CPU seconds of the whole command from ingest to deploy. The peer trains
Flatten, Dense(128, relu), Dense(10) on all 60,000 training digits for 10 epochs.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from pathlib import Path

import yaml
from rich.console import Console

from bench.measure import PROJECT, cpu_seconds, data, environment, show

SEEDS = (1, 2, 3)
PIPELINE = PROJECT / "dags" / "pipelines" / "mnist.yaml"


def main() -> None:
    """Measure in turn; 8 minutes at most."""
    say = Console(stderr=True).print
    plain, ours, theirs, reached = [], [], [], []
    mnist = str(data("mnist.npz"))
    with tempfile.TemporaryDirectory(prefix="mnist-") as name:
        log = Path(name) / "log"
        script = str(PROJECT / "bench" / "mnist_bare.py")
        for seed in SEEDS:
            env = environment(PYTHONPATH=str(PROJECT))
            plain.append(cpu_seconds([sys.executable, script, mnist, "10", "60000"], env, log))
            theirs.append(float(re.findall(r"final accuracy ([\d.]+)", log.read_text())[-1]))
            folder = _pipeline(Path(name) / str(seed), mnist, seed)
            env |= {"PERENNIAL_PIPELINES": str(folder), "PERENNIAL_HOME": str(folder / "home")}
            run = [sys.executable, "-m", "pipeline_tasks", "run", "mnist"]
            ours.append(cpu_seconds(run, env, log))
            reached.append(_test_accuracy(folder / "home"))
            say(
                f"seed {seed}: plain {plain[-1]:.1f} s {theirs[-1]:.4f}, "
                f"pipeline {ours[-1]:.1f} s {reached[-1]:.4f}"
            )
    ratio = statistics.median(b / a for a, b in zip(plain, ours, strict=True))
    result = {
        "bench": "mnist",
        "test_accuracy_by_seed": reached,
        "mean_test_accuracy": round(statistics.mean(reached), 5),
        "cpu_seconds": round(statistics.median(ours), 1),
        "plain_cpu_seconds": round(statistics.median(plain), 1),
        "plain_test_accuracy_by_seed": [round(one, 4) for one in theirs],
        "ratio": round(ratio, 2),
    }
    rows = {
        "mean test accuracy": (f"{result['mean_test_accuracy']}", "0.9951 at least"),
        "by seed": (", ".join(f"{one:.4f}" for one in reached), ""),
        "CPU against the plain script": (
            f"{result['cpu_seconds']} s, {result['ratio']} x",
            "3.5 x at most",
        ),
        "plain script": (
            f"{result['plain_cpu_seconds']} s, {statistics.mean(theirs):.4f}",
            "",
        ),
    }
    show("MNIST", rows, result)


def _pipeline(folder: Path, mnist: str, seed: int) -> Path:
    """The shipped file with this machine's data, this seed, and no server to deploy to."""
    folder.mkdir()
    content = yaml.safe_load(PIPELINE.read_text())
    content["source"]["path"] = mnist
    content["training"]["seed"] = seed
    content["target"] = {"kind": "archive"}
    (folder / "mnist.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def _test_accuracy(home: Path) -> float:
    [report] = (home / "store" / "mnist" / "runs").glob("*/evaluation/evaluation.json")
    content = json.loads(report.read_text())
    accuracy: float = content["splits"]["test"]["candidate"]["accuracy"]
    return round(accuracy, 4)


if __name__ == "__main__":
    main()
