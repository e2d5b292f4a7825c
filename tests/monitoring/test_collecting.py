"""collect itself: retried, of logs of any shape, read by time, and beside a real server."""

from __future__ import annotations

import hashlib
import shutil
import socket

import numpy as np
import pytest

from pipeline_tasks import observations
from pipeline_tasks.core.store import Store
from pipeline_tasks.data import rows
from pipeline_tasks.observations import columns, rotation
from pipeline_tasks.steps import collect
from tests.monitoring.looking import Looking, ago
from tests.server import Server


def content(looking, ref):
    folder = looking.store.open(ref)
    names = ("window.npz", "labelled.npz", "window.json", "cohorts.json")
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]


def test_a_run_that_is_retried_finds_the_same_whatever_has_come_since(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "MAXIMUM_ROWS", 25)
    made = Looking(tmp_path)
    for hours in (5, 4, 3):
        made.tell(dict.fromkeys(made.ask(40, hours=hours)[:30], 1), minutes=30)
    first = made.collect("look")
    assert (first.summary["predictions"], first.summary["labelled"]) == (120, 90)
    ids = made.ask(10)
    made.tell(dict.fromkeys(ids, 1))
    assert content(made, made.collect("look")) == content(made, first)
    facts = made.look("look")
    assert (facts["predictions"], facts["labels_arrived"]) == (120, 90)
    facts = made.look("next")
    assert (facts["predictions"], facts["labelled"]) == (10, 10)
    assert facts["label_completeness"] == round(100 / 130, 4)
    assert content(made, made.collect("next")) == content(made, made.collect("next"))


def test_a_look_after_one_that_failed_counts_every_label_once(tmp_path):
    made = Looking(tmp_path)
    made.tell(dict.fromkeys(made.ask(10, hours=5), 1), hours=4)
    made.collect("whose monitor failed")
    made.tell(dict.fromkeys(made.ask(10), 1))
    facts = made.look("next")
    assert (facts["predictions"], facts["labelled"], facts["labels_arrived"]) == (20, 20, 10)
    assert facts["label_completeness"] == 1.0


def test_counting_begins_anew_where_what_was_counted_is_lost(tmp_path, caplog):
    made = Looking(tmp_path)
    made.tell(dict.fromkeys(made.ask(10, hours=5), 1), hours=4)
    made.look("first")
    shutil.rmtree(made.store.root / "small" / "runs" / "first" / "looked")
    made.ask(5)
    facts = made.look("second")
    assert (facts["predictions"], facts["label_completeness"]) == (5, 0.0)
    assert "labels are counted anew" in caplog.text


@pytest.mark.parametrize("is_packed", [False, True])
def test_only_what_may_be_of_the_time_is_read(tmp_path, monkeypatch, is_packed):
    made = Looking(tmp_path)
    old, new = made.ask(20, hours=5), made.ask(20, hours=1)
    made.tell(dict.fromkeys(old + new, 1))
    if is_packed:
        observations.rotate(made.log)
    found = list(columns.groups(made.log / "predictions", [(ago(hours=2), ago())]))
    keys = [key for group in found for key in group.keys["id"].to_pylist()]
    assert set(new) <= set(keys)
    assert (set(old) & set(keys) == set()) == is_packed
    assert made.look("look")["labelled"] == 40


def test_ids_that_tell_no_time_are_found_since_the_promotion(tmp_path):
    made = Looking(tmp_path)
    dated = made.ask(3, hours=5)
    monkey = made._id
    made._id = lambda moment: f"mine-{monkey(moment)[-6:]}"
    undated = made.ask(3, hours=4)
    made.tell(dict.fromkeys(dated + undated, 1) | {"nobody": 0, "f" * 12 + "7abc8" + "0" * 17: 0})
    facts = made.look("look")
    assert (facts["labelled"], facts["labels_orphaned"]) == (6, 2)


def test_a_log_whose_rows_differ_in_type_gives_the_same_arrays(tmp_path, monkeypatch):
    made = Looking(tmp_path)
    made.tell(dict.fromkeys(made.ask(4, hours=5), 1) | {"x": "text", "y": 2.5})
    [path] = (made.log / "predictions").glob("*/*.jsonl")
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace('"x": 0.5', '"x": null').replace('"a"', "null")
    lines[2] = lines[2].replace('"x": 0.5', '"x": 7')
    plain = window_of(made, path, lines)
    mixed = [*lines, lines[3].replace('{"x": 0.5', '{"other": "text", "x": 0.5')]
    mixed += [mixed[-1].replace('"text"', "1.5")]
    assert rotation._as_written("".join(f"{one}\n" for one in mixed).encode()) is None
    texts = window_of(made, path, mixed)
    for arrays in (plain, texts):
        assert np.isnan(arrays["x"]).sum() == 1
        assert sorted(arrays["x"][~np.isnan(arrays["x"])].tolist())[-1] == 7
        assert sorted(set(arrays["plan"].tolist())) == ["", "a"]
        assert arrays["_answer"].tolist() == [[0.25, 0.75]] * len(arrays["x"])
    assert (len(plain["x"]), len(texts["x"])) == (4, 6)


def window_of(made, path, lines):
    for packed in (made.log / "predictions").glob("date=*"):
        shutil.rmtree(packed)
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{one}\n" for one in lines))
    window = made.collect(f"look at {len(lines)}")
    return rows.read_arrays(made.store.open(window) / "window.npz")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model that answers twice its input, behind a server whose log is the pipeline's."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("served")
    server = Server(folder)
    module = tf.Module()
    spec = [tf.TensorSpec([None], tf.float32, name="x")]
    module.answer = tf.function(lambda x: {"value": 2 * x}, input_signature=spec)
    with Store(folder / "scratch").write("small", "run", "exported", inputs={}) as draft:
        tf.saved_model.save(module, str(draft.folder), signatures=module.answer)
    (server.models / "small").mkdir()
    shutil.move(Store(folder / "scratch").open(draft.done()), server.models / "small" / "1")
    server.start()
    server.wait(lambda: server.answers("/v1/models/small"))
    server.wait(lambda: server.answers("/readyz"), seconds=180)
    yield server
    server.kill()


def ask(server, value, times):
    return [
        server.post("/v1/models/small:predict", {"instances": [value]}).status_code
        for _ in range(times)
    ]


def refused(server):
    """A client is cut off whose request's head does not arrive."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /v1/mo")
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_what_the_server_counted_survives_its_restart(served, tmp_path):
    made = Looking(
        tmp_path,
        server=served.url,
        columns={"x": {"type": "number"}},
        label={"name": "y", "type": "number"},
        metrics=["rmse"],
        promotion={"metric": "rmse"},
        target={"kind": "model_server"},
    )
    shutil.rmtree(made.log, ignore_errors=True)
    made.log.symlink_to(served.store / "small" / "observations")
    assert set(ask(served, 1.5, 3)) == {200}
    served.wait(lambda: len(list(observations.predictions(made.log))) == 3)
    facts = made.look("first")
    assert facts["server_is_answering"] is True
    assert facts["server_memory_mb"] > 50
    assert (facts["requests"], facts["error_share"]) == (None, None)
    assert facts["predictions"] == 3
    assert 0 < facts["latency_p50_ms"] <= facts["latency_p95_ms"] <= facts["latency_p99_ms"]
    assert facts["model_age_hours"] == pytest.approx(10, abs=0.2)
    assert facts["newest_label_age_hours"] is None
    served.kill()
    facts = made.look("while it is away")
    assert (facts["server_is_answering"], facts["requests"]) == (False, None)
    served.start()
    served.wait(lambda: served.answers("/readyz"), seconds=180)
    assert set(ask(served, 2.5, 4)) == {200}
    assert ask(served, "text", 1) == [400]
    refused(served)
    served.wait(lambda: len(list(observations.predictions(made.log))) == 7)
    facts = made.look("after")
    assert (facts["requests"], facts["error_share"]) == (5, 0.0)
    assert facts["requests_per_minute"] > 0
    told = ("queue_refusals", "refused_requests", "log_dropped_rows")
    assert [facts[name] for name in told] == [0, 1, 0]
    assert facts["predictions"] == 4
    served.post("/v1/models/small:label", {"id": "nobody-0", "label": 1.0})
    facts = made.look("with a label")
    assert facts["requests"] == 0
    assert facts["newest_label_age_hours"] == pytest.approx(0, abs=0.1)
