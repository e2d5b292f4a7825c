"""The training loop on a small real pipeline: real training, real export, real server code."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline_tasks import loop
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ConfigError, TrainingError
from pipeline_tasks.core.store import read_json
from pipeline_tasks.data import rows
from tests.small import csv_text


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The whole loop, once, for the tests that only look at what it left."""
    from tests.small import write_small

    made = write_small(tmp_path_factory.mktemp("loop"))
    return made, made.steps("first")


def test_the_loop_ends_with_a_champion_that_can_answer(done):
    made, left = done
    store = made.run().store
    champion = store.champion("small")
    assert champion is not None
    assert champion.version == 1
    assert left["evaluate"].summary["test_candidate_accuracy"] > 0.85
    assert left["verify"].summary["largest_difference"] <= 1e-5
    assert [entry.event for entry in store.history("small")] == ["promotion"]


def test_splits_are_disjoint_and_hold_every_row_once(done):
    made, left = done
    folder = made.run().open(left["prepare"])
    widths = [
        set(rows.read_arrays(folder / f"{name}.npz")["width"].tolist())
        for name in ("train", "validation", "test")
    ]
    sizes = [left["prepare"].summary[name] for name in ("train", "validation", "test")]
    assert sum(sizes) == 400
    assert all(size > 20 for size in sizes)
    assert len(set.union(*widths)) == sum(map(len, widths))


def test_what_was_learned_comes_from_the_training_rows_alone(done):
    made, left = done
    folder = made.run().open(left["prepare"])
    learned = read_json(folder / "preprocessing.json")
    train = rows.read_arrays(folder / "train.npz")
    assert learned["width"]["mean"] == pytest.approx(float(train["width"].mean()), abs=1e-6)
    assert learned["height"]["median"] == pytest.approx(float(np.nanmedian(train["height"])))


def test_the_same_run_again_reuses_every_artifact_and_promotes_nothing(done):
    made, first = done
    again = made.steps("second")
    assert list(again) == ["ingest", "check", "prepare", "train", "evaluate", "gate"]
    assert all(again[name].reused for name in list(again)[:-1])
    assert again["train"].digest == first["train"].digest
    assert "the champion itself" in again["gate"].summary["reasons"]


def test_force_trains_again_and_the_same_seed_gives_the_same_weights(done):
    made, first = done
    again = made.steps("forced", until="train", force=True)
    assert not again["train"].reused
    kept = [
        rows.read_arrays(made.run().open(ref["train"]) / "weights.npz") for ref in (first, again)
    ]
    for name, values in kept[0].items():
        np.testing.assert_array_equal(values, kept[1][name])


def test_rows_removed_from_the_same_file_are_noticed(small):
    made = small()
    made.steps("first", until="prepare")
    lines = made.csv.read_text().splitlines()
    made.csv.write_text("\n".join(lines[:300]) + "\n")
    again = made.steps("second", until="prepare")
    assert not any(ref.reused for ref in again.values())
    assert again["check"].summary["rows"] == 299


def test_a_row_stays_on_its_side_when_others_come_or_go(small):
    made = small()
    folders = []
    for run_id in ("first", "second"):
        left = made.steps(run_id, until="prepare")
        folders.append(made.run().open(left["prepare"]))
        made.csv.write_text("\n".join(made.csv.read_text().splitlines()[:300]) + "\n")
    before, after = (
        set(rows.read_arrays(folder / "test.npz")["width"].tolist()) for folder in folders
    )
    assert after < before


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(small):
    made = small(model={"kind": "mlp", "hidden": [8], "l2": 1e38})
    with pytest.raises(TrainingError, match=r"not finite .* in epoch 1, batch \d+") as caught:
        made.steps()
    assert not caught.value.is_retryable
    assert made.run().store.champion("small") is None
    assert not (made.run().store.root / "small" / "archive").exists()


def test_a_refused_candidate_is_recorded_and_the_champion_stays(small):
    made = small(promotion={"minimum": 0.999})
    left = made.steps()
    assert list(left)[-1] == "gate"
    assert left["gate"].summary["answer"] == "no"
    store = made.run().store
    assert store.champion("small") is None
    assert [entry.event for entry in store.history("small")] == ["refusal"]


def test_early_stopping_keeps_the_best_weights(small):
    made = small(training={"epochs": 200, "batch_size": 16, "learning_rate": 0.1, "patience": 3})
    left = made.steps(until="train")
    curves = read_json(made.run().open(left["train"]) / "curves.json")
    best = left["train"].summary["best_epoch"]
    assert left["train"].summary["epochs"] == best + 3 < 200
    assert curves["validation_loss"][best - 1] == min(curves["validation_loss"])


def observe(made, count: int, *, seed: int) -> None:
    """Log `count` predictions with their labels, as a server would."""
    folder = made.run().store.observations("small")
    moment = clock.text(clock.now())
    lines = {"predictions": [], "labels": []}
    for index, line in enumerate(csv_text(count, seed).splitlines()[1:]):
        width, height, colour, kind = line.split(",")
        # The drifted world: what was 0 is 1, and the colour tells.
        inputs = {"width": float(width), "height": float(height or "nan"), "colour": colour}
        when = f"{moment[:-5]}.{index:03d}Z"  # of at most 1,000
        outputs = {"label": int(kind), "probabilities": [0.5, 0.5]}
        prediction = {
            "id": f"{seed}-{index}",
            "time": when,
            "version": 1,
            "inputs": inputs,
            "outputs": outputs,
            "latency_ms": 1.0,
        }
        lines["predictions"].append(prediction)
        lines["labels"].append({"id": f"{seed}-{index}", "time": when, "label": 1 - int(kind)})
    for name, found in lines.items():
        path = folder / name / moment[:10] / f"{seed}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in found))


def test_labelled_production_data_is_trained_on_and_a_later_window_of_it_judges(small):
    made = small(promotion={"minimum": 0.4}, retraining={"recent_share": 0.4})
    before = made.steps("first")
    observe(made, 600, seed=2)
    after = made.steps("second")
    assert after["ingest"].summary["observations"] == 600
    assert after["prepare"].summary["recent"] == 240
    assert after["prepare"].summary["train"] > before["prepare"].summary["train"] + 200
    scores = after["evaluate"].summary
    assert scores["recent_candidate_accuracy"] > scores["recent_champion_accuracy"] + 0.2
    champion = made.run().store.champion("small")
    assert champion is not None
    assert champion.version == 2
    assert after["deploy"].summary["previous_version"] == 1


def test_rolling_back_serves_the_version_before_and_keeps_the_reason(small):
    made = small(promotion={"minimum": 0.4}, retraining={"recent_share": 0.4})
    made.steps("first")
    observe(made, 600, seed=2)
    made.steps("second")
    run = replace(made.run("back"), by="ana")
    loop.function("rollback")(run, version=None, reason="it annoyed the customers")
    champion = run.store.champion("small")
    assert champion is not None
    assert champion.version == 1
    last = run.store.history("small")[-1]
    assert (last.event, last.by, last.version, last.previous_version) == ("rollback", "ana", 1, 2)
    assert last.reasons == ("it annoyed the customers",)
    archive = run.store.root / "small" / "archive"
    assert sorted(path.name for path in archive.iterdir() if path.is_dir()) == ["1", "withdrawn"]
    loop.function("rollback")(replace(run, id="forth"), version=2, reason="it was not the model")
    champion = run.store.champion("small")
    assert champion is not None
    assert champion.version == 2
    with pytest.raises(ConfigError, match="needs a reason"):
        loop.function("rollback")(run, version=1, reason=" ")


def test_a_version_that_could_not_be_confirmed_is_withdrawn_whatever_happened(small, monkeypatch):
    from pipeline_tasks.targets import archive

    def fail(*_):
        raise RuntimeError("something nobody thought of")

    monkeypatch.setattr(archive, "confirm", fail)
    made = small()
    with pytest.raises(RuntimeError):
        made.steps()
    assert made.run().store.champion("small") is None
    archived = made.run().store.root / "small" / "archive"
    assert not list(archived.glob("[0-9]*"))
