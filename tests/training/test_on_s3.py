"""What training keeps in a bucket, for a retry or a trial on another machine."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline_tasks.core.bucket import Bucket
from pipeline_tasks.learning import checkpoint, tuning
from pipeline_tasks.learning.checkpoint import CURVES, Checkpoint, Progress
from pipeline_tasks.learning.study_journal import BucketBackend
from tests import s3


@pytest.fixture
def bucket(s3_address, monkeypatch):
    return Bucket(s3.bucket(s3_address, monkeypatch))


def after(epochs: int) -> Progress:
    progress = Progress()
    for epoch in range(epochs):
        progress = progress.after(
            loss=1.0, validation_loss=2.0 - epoch, validation_score=0.5, seconds=0.1,
            weights=[np.full(3, epoch)],
        )  # fmt: skip
    return progress


def test_what_was_kept_is_there_on_another_machine_until_it_is_cleared(bucket):
    Checkpoint(bucket, "state").save([], after(2))
    found = Checkpoint(bucket, "state").load([])
    assert (found.epochs, found.resumed_after) == (2, (2,))
    np.testing.assert_array_equal(found.best_weights[0], [1, 1, 1])
    assert json.loads(bucket.read(CURVES))["loss"] == [1.0, 1.0]
    assert Checkpoint(bucket, "of other settings").load([]).epochs == 0
    Checkpoint(bucket, "state").clear()
    assert Checkpoint(bucket, "state").load([]).epochs == 0
    assert bucket.sizes("") == {}


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_of_short_epochs_some_go_without(kind, bucket, tmp_path, monkeypatch):
    place = bucket if kind == "bucket" else tmp_path
    kept = Checkpoint(place, "state")
    for epochs in (1, 2, 3):
        kept.save([], after(epochs))
    assert Checkpoint(place, "state").load([]).epochs == 1
    monkeypatch.setattr(checkpoint, "SHARE", 1.0)
    kept = Checkpoint(place, "state")
    for epochs in (1, 2, 3):
        kept.save([], after(epochs))
    assert Checkpoint(place, "state").load([]).epochs == 3


def test_a_bucket_that_is_gone_for_a_while_stops_no_training(s3_address, monkeypatch, caplog):
    road = s3.Road(s3_address)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bucket = Bucket(s3.bucket(road.address, monkeypatch))
    monkeypatch.setattr(checkpoint, "SHARE", 1.0)
    kept = Checkpoint(bucket, "state")
    kept.save([], after(1))
    road.close()
    kept.save([], after(2))
    assert "this epoch has no checkpoint, training goes on" in caplog.text
    assert s3.SECRET not in caplog.text
    road.reopen()
    assert Checkpoint(bucket, "state").load([]).epochs == 1
    kept.save([], after(3))
    assert Checkpoint(bucket, "state").load([]).epochs == 3


def test_trials_of_many_machines_see_one_order(bucket):
    machines = [BucketBackend(bucket) for _ in range(3)]

    def tell(number: int) -> None:
        for log in range(12):
            machines[number].append_logs([{"machine": number, "log": log}, {"second": log}])

    with ThreadPoolExecutor() as pool:
        list(pool.map(tell, range(3)))
    found = BucketBackend(bucket).read_logs(0)
    assert len(found) == 3 * 12 * 2
    assert all(machine.read_logs(0) == found for machine in machines)
    assert machines[0].read_logs(70) == found[70:]
    for number in range(3):
        mine = [log["log"] for log in found if log.get("machine") == number]
        assert mine == list(range(12))


def test_machines_share_a_study(bucket):
    first, second = (tuning.open_study(bucket, "digits", seed=seed) for seed in (1, 2))
    trial, is_resumed = tuning.trial_of(first, slot=0)
    assert not is_resumed
    other, is_resumed = tuning.trial_of(second, slot=0)
    assert (other.number, is_resumed) == (trial.number, True)
    third, _ = tuning.trial_of(second, slot=1)
    assert third.number == 1
    second.tell(third, 0.5)
    first.tell(trial, 0.25)
    assert [one.value for one in second.get_trials()] == [0.25, 0.5]
    assert first.best_trial.number == 0
