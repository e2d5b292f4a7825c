"""The train step against a plain Keras script: the same network, the same rows, the same accuracy.

MNIST's 60,000 training images, the last 10,000 of them to validate; Flatten, Dense(128, relu),
Dense(10). The plain script: Adam 0.001, batches of 32, 10 epochs of model.fit. Ours: one-cycle
Adam up to 0.012, batches of 256, 4 epochs, each one compiled function. Whole processes, imports
included, in turn.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from bench.measure import PROJECT, cpu_seconds, data, environment, show
from pipeline_tasks import config
from pipeline_tasks.core.store import Store
from pipeline_tasks.data import rows

ROUNDS = 3
PLAIN_EPOCHS = 10
PIPELINE = {
    "source": {"kind": "digits"},
    "columns": {"image": {"type": "image", "shape": [28, 28]}},
    "label": {"name": "digit", "classes": list(range(10))},
    "model": {"kind": "mlp", "hidden": [128]},
    "training": {
        "epochs": 4,
        "batch_size": 256,
        "learning_rate": 0.012,
        "schedule": "one_cycle",
        "patience": 0,
    },
}
TRAIN = """
import sys
from pathlib import Path
from pipeline_tasks import config, loop
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run
folder, seed, prepared = Path(sys.argv[1]), int(sys.argv[2]), Ref.model_validate_json(sys.argv[3])
pipeline = config.load(folder / "mnist.yaml").with_training(seed=seed)
run = Run(config=pipeline, id=f"run {seed}", store=Store(folder / "store"), force=True)
left = loop.function("train")(run, prepared=prepared)
print("validation accuracy", left.summary["validation_accuracy"])
"""


def main() -> None:
    """Measure in turn; 6 minutes at most."""
    say = Console(stderr=True).print
    plain, ours, accuracies = [], [], ([], [])
    with tempfile.TemporaryDirectory(prefix="training-") as name:
        folder = Path(name)
        prepared = _prepare(folder)
        mnist = str(data("mnist.npz"))
        script = str(PROJECT / "bench" / "mnist_bare.py")
        for seed in range(ROUNDS + 1):
            peer = [sys.executable, script, mnist, str(PLAIN_EPOCHS if seed else 1), "50000"]
            mine = [sys.executable, "-c", TRAIN, str(folder), str(seed), prepared]
            for command, seconds, reached in (
                (peer, plain, accuracies[0]),
                (mine, ours, accuracies[1]),
            ):
                log = folder / "log"
                env = environment(PYTHONPATH=str(PROJECT))
                seconds.append(cpu_seconds(command, env, log))
                reached.append(float(re.findall(r"accuracy ([\d.]+)", log.read_text())[-1]))
            kind = f"{seed}/{ROUNDS}" if seed else "warm-up"
            say(
                f"{kind}: plain {plain[-1]:.1f} s {accuracies[0][-1]:.4f}, "
                f"ours {ours[-1]:.1f} s {accuracies[1][-1]:.4f}"
            )
    _show(plain[1:], ours[1:], accuracies[0][1:], accuracies[1][1:])


def _prepare(folder: Path) -> str:
    """What the prepare step leaves; the reference to it as JSON."""
    with np.load(data("mnist.npz")) as kept:
        images, labels = kept["x_train"].astype("float32"), kept["y_train"].astype("int64")
    (folder / "mnist.yaml").write_text(yaml.safe_dump(PIPELINE))
    pipeline = config.load(folder / "mnist.yaml")
    with Store(folder / "store").write(pipeline.name, "given", "prepared", inputs={}) as draft:
        for split, part in (("train", slice(0, 50_000)), ("validation", slice(50_000, None))):
            arrays = {"image": images[part], rows.LABEL: labels[part]}
            rows.write_arrays(draft.folder / f"{split}.npz", arrays)
        (draft.folder / "preprocessing.json").write_text('{"image": {"scale": 255.0}}')
    return draft.done().model_dump_json()


def _show(plain: list[float], ours: list[float], theirs: list[float], reached: list[float]) -> None:
    ratio = statistics.median(b / a for a, b in zip(plain, ours, strict=True))
    result = {
        "bench": "training",
        "plain_cpu_seconds": round(statistics.median(plain), 2),
        "cpu_seconds": round(statistics.median(ours), 2),
        "ratio": round(ratio, 3),
        "plain_validation_accuracy": [round(one, 4) for one in theirs],
        "validation_accuracy": [round(one, 4) for one in reached],
    }
    rows_shown = {
        "plain Keras script": (f"{result['plain_cpu_seconds']} CPU s", ""),
        "train step": (f"{result['cpu_seconds']} CPU s, {result['ratio']} x", "0.2 x at most"),
        "validation accuracy, plain": (f"{statistics.mean(theirs):.4f}", ""),
        "validation accuracy, ours": (f"{statistics.mean(reached):.4f}", "not below it"),
    }
    show("Training", rows_shown, result)


if __name__ == "__main__":
    main()
