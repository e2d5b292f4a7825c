"""Training killed by SIGKILL goes on at the next epoch and ends with an unbroken run's weights."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline_tasks.data import rows
from tests.small import Small, write_small

TRAIN = """
import os, signal, sys
from pathlib import Path
from tests.small import Small
from pipeline_tasks.learning import checkpoint, fitting

checkpoint.SHARE = 1.0  # every epoch is kept, however short
order, killed_in = fitting._order, int(sys.argv[2])
def order_or_die(rows, seed, epoch):
    if epoch == killed_in:
        os.kill(os.getpid(), signal.SIGKILL)
    return order(rows, seed, epoch)
fitting._order = order_or_die

folder = Path(sys.argv[1])
made = Small(folder, folder / "rows.csv", folder / "small.yaml", uri=sys.argv[3])
made.steps("same", until="train")
"""


def train(made: Small, killed_in: int) -> int:
    command = [sys.executable, "-c", TRAIN, str(made.folder), str(killed_in), made.uri]
    return subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode


def model(made: Small) -> Path:
    return made.folder / "store" / "small" / "runs" / "same" / "model"


@pytest.mark.parametrize("start", ["fresh", "champion"])
def test_a_kill_in_epoch_4_of_5_costs_2_epochs_not_5(tmp_path, start):
    folders = [tmp_path / "broken", tmp_path / "unbroken"]
    for folder in folders:
        folder.mkdir()
    if start == "champion":
        write_small(folders[0]).steps("first")
        shutil.copytree(folders[0], folders[1], dirs_exist_ok=True)
    training = {"epochs": 5, "batch_size": 16, "learning_rate": 0.03, "start": start}
    broken, unbroken = (
        write_small(folder, training=training, split={"test": 0.2}) for folder in folders
    )
    assert train(broken, killed_in=4) == -signal.SIGKILL
    assert not model(broken).exists()
    assert train(broken, killed_in=0) == 0
    assert train(unbroken, killed_in=0) == 0
    curves = [json.loads((model(made) / "curves.json").read_text()) for made in (broken, unbroken)]
    assert curves[0]["resumed_after"] == [3]
    assert curves[1]["resumed_after"] == []
    assert curves[0]["loss"] == curves[1]["loss"]
    assert {(model(made) / "start.json").exists() for made in (broken, unbroken)} == {
        start == "champion"
    }
    weights = [rows.read_arrays(model(made) / "weights.npz") for made in (broken, unbroken)]
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name])
