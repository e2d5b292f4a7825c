"""What was asked and answered is kept, and labels find it later."""

from __future__ import annotations

import json
import resource
import threading
import time

import numpy as np
import pytest

from pipeline_tasks import observations
from pipeline_tasks.core.errors import DeploymentError, TransientError
from pipeline_tasks.core.store import Store
from pipeline_tasks.sections import logged
from pipeline_tasks.sections.logged import Logged
from pipeline_tasks.serving.client import Client
from pipeline_tasks.serving.observed import prediction_log
from pipeline_tasks.serving.observed.prediction_log import Answered, PredictionLog, new_id
from tests.serving.conftest import ROW


def kept(server) -> list[observations.Prediction]:
    return list(observations.predictions(Store(server.store).observations("small")))


def test_every_row_is_logged_with_id_version_answer_and_latency(server):
    answers, version, identity = Client(server.url).predict("small", [ROW, ROW | {"width": -1.5}])
    server.wait(lambda: len(kept(server)) == 2)
    found = {one.id: one for one in kept(server)}
    second = found[f"{identity}-1"]
    assert second.version == version == 1
    assert second.inputs == {"width": -1.5, "height": 0.25, "colour": "red"}
    assert second.outputs["label"] == answers[1]["label"]
    assert second.outputs["probabilities"] == pytest.approx(answers[1]["probabilities"])
    assert second.latency_ms > 0
    assert (second.model, second.sequence, second.share) == ("small", 1, 1.0)
    assert observations.day_range(second.id)[0] <= second.time[:10]


def test_a_missing_number_is_asked_as_nan(server):
    answers, _, _ = Client(server.url).predict("small", [ROW | {"height": float("nan")}])
    assert answers[0]["label"] in (0, 1)


def test_a_probe_is_answered_and_not_logged(server):
    client = Client(server.url)
    client.predict("small", [ROW], is_probe=True)
    _, _, identity = client.predict("small", [ROW])
    server.wait(lambda: kept(server))
    assert [one.id for one in kept(server)] == [f"{identity}-0"]


def test_kill_9_under_load_costs_the_last_second_of_the_log_at_most(server):
    answered: list[tuple[float, str]] = []
    threads = [threading.Thread(target=_ask_until_killed, args=(server, answered)) for _ in "1234"]
    for thread in threads:
        thread.start()
    server.wait(lambda: len(answered) > 400 and len(kept(server)) > 200)
    killed = time.monotonic()
    server.kill()
    for thread in threads:
        thread.join()
    found = {one.id for one in kept(server)}
    lost = [moment for moment, identity in answered if identity not in found]
    print(len(answered), len(found), len(lost), [round(killed - m, 3) for m in lost][:3])
    assert len(found) >= 200
    assert all(moment > killed - 1 for moment in lost)
    server.start()
    Client(server.url).wait_available("small", 1, timeout_seconds=30)
    Client(server.url).predict("small", [ROW])
    server.wait(lambda: len(kept(server)) == len(found) + 1)


def _ask_until_killed(server, answered):
    client = Client(server.url, timeout_seconds=5)
    while True:
        try:
            identity = client.predict("small", [ROW])[2]
        except TransientError:
            return
        answered.append((time.monotonic(), f"{identity}-0"))


def test_a_torn_last_line_is_left_out(server):
    Client(server.url).predict("small", [ROW])
    server.wait(lambda: kept(server))
    server.kill()
    [segment] = Store(server.store).observations("small").glob("predictions/*/*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"id": "half')
    assert len(kept(server)) == 1


def test_what_is_logged_can_be_changed_while_the_server_runs(server):
    client = Client(server.url)
    client.predict("small", [ROW])
    logged.write(server.models / "small", Logged(columns=("width",)))
    server.wait(lambda: client.predict("small", [ROW]) and _last(server) == {"width": 0.5})
    server.kill()
    logged.write(server.models / "small", Logged(columns=("width", "height")))
    server.start()
    client.wait_available("small", 1, timeout_seconds=30)
    _, _, identity = client.predict("small", [ROW | {"colour": "green"}])
    server.wait(lambda: kept(server)[-1].id == f"{identity}-0")
    assert "green" not in "".join(
        path.read_text() for path in server.store.rglob("*") if path.is_file()
    )


def _last(server):
    found = sorted(kept(server), key=lambda one: one.id)
    return found[-1].inputs if found else None


def answer(identity: str, *, width: object = 0.5, **changes: object) -> Answered:
    """One answered request as the server's code makes them."""
    values = np.atleast_1d(np.array(width, dtype=np.float32))
    content = {
        "model": "small",
        "version": 1,
        "id": identity,
        "at": time.time(),
        "rows": len(values),
        "arrays": {"width": values, "name": np.array([b"ann"] * len(values), dtype=object)},
        "outputs": {"label": np.arange(len(values))},
        "latency_ms": 1.5,
    }
    return Answered(**(content | changes))


@pytest.fixture
def log(tmp_path):
    """A log without a server around it."""
    found = PredictionLog(Store(tmp_path / "store"), tmp_path / "models")
    yield found
    found.close()


def folder_of(log):
    return log._store.observations("small")


def wait(is_true, seconds: float = 20):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sample_is_the_same_ids_for_every_server_and_is_told_with_its_rows(log, tmp_path):
    logged.write(tmp_path / "models" / "small", Logged(share=0.25, columns=("width",)))
    ids = [new_id() for _ in range(400)]
    for identity in ids:
        log.add(answer(identity))
    wait(lambda: log.written + log.sampled_out == 400)
    found = list(observations.predictions(folder_of(log)))
    assert {one.id for one in found} == {f"{i}-0" for i in ids if Logged(share=0.25).has(i)}
    assert 60 < len(found) < 140
    assert {one.share for one in found} == {0.25}
    assert sum(1 / one.share for one in found) == pytest.approx(400, rel=0.4)
    assert [one.sequence for one in found] == list(range(1, len(found) + 1))
    assert "ann" not in "".join(path.read_text() for path in folder_of(log).rglob("*.jsonl"))


def test_what_a_shadow_answered_is_kept_apart_under_the_same_id(log):
    identity = new_id()
    log.add(answer(identity))
    log.add(answer(identity, version=2, is_shadow=True, route="shadow"))
    wait(lambda: log.written == 2)
    [mine] = observations.predictions(folder_of(log))
    [other] = observations.shadows(folder_of(log), ids={mine.id})
    assert (mine.version, other.version, other.id) == (1, 2, mine.id)
    assert other.route == "shadow"


def test_unreadable_rules_keep_everything_out_of_the_log_and_that_is_counted(log, tmp_path):
    (tmp_path / "models" / "small").mkdir(parents=True)
    (tmp_path / "models" / "small" / logged.FILE).write_text('{"share": ')
    log.add(answer(new_id(), width=[1, 2]))
    assert log.dropped == 2
    logged.write(tmp_path / "models" / "small", Logged())
    wait(lambda: log.add(answer(new_id())) or log.written)


def test_what_does_not_fit_is_dropped_and_counted_and_told_once(log, monkeypatch, caplog):
    monkeypatch.setattr(prediction_log, "MAXIMUM_WAITING_BYTES", 100_000)
    for _ in range(5):
        log.add(answer(new_id(), width=np.zeros(100_000)))
    assert log.dropped == 500_000
    log.add(answer(new_id()))
    wait(lambda: log.written == 1)
    wait(lambda: "logged again; 500000 rows were dropped" in caplog.text)
    assert caplog.text.count("predictions are dropped") == 1


def test_a_full_disk_drops_whole_rows_and_the_log_goes_on_when_there_is_space(log, caplog):
    log.add(answer(new_id()))
    wait(lambda: log.written == 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        log.add(answer(new_id(), width=range(50)))
        wait(lambda: log.dropped == 50)
        log.add(answer(new_id()))
        wait(lambda: log.written == 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.add(answer(new_id(), width=range(50)))
    wait(lambda: log.written == 52)
    [segment] = folder_of(log).glob("predictions/*/*.jsonl")
    assert len([json.loads(line) for line in segment.read_text().splitlines()]) == 52
    assert caplog.text.count("predictions are dropped") == 1
    assert "File too large" in caplog.text


def test_an_answer_that_cannot_be_written_as_json_is_dropped_and_the_log_goes_on(log):
    log.add(answer(new_id(), outputs={"label": np.array([object()])}))
    wait(lambda: log.dropped == 1)
    log.add(answer(new_id()))
    wait(lambda: log.written == 1)


def test_a_label_finds_its_prediction_and_a_later_one_corrects_it(server):
    client = Client(server.url)
    _, _, identity = client.predict("small", [ROW, ROW])
    first, second = f"{identity}-0", f"{identity}-1"
    assert client.label("small", {first: 0, second: 1}) == 2
    told = server.post("/v1/models/small:label", {"labels": [{"id": first, "label": 1}]})
    assert told.json() == {"accepted": 1, "unchanged": 0, "corrected": 1}
    folder = Store(server.store).observations("small")
    server.wait(lambda: len(kept(server)) == 2)
    found = {one.prediction.id: one.label.label for one in observations.labelled(folder)}
    assert found == {first: 1, second: 1}
    history = observations.label_history(folder)
    assert [one.label for one in history[first]] == [0, 1]


def test_the_same_labels_again_change_nothing(server):
    content = {"id": "some-0", "label": 2.5, "time": "2026-01-31T14:45:00+01:00"}
    first = server.post("/v1/models/small:label", content).json()
    again = server.post("/v1/models/small:label", {"labels": [content, content]}).json()
    assert first == {"accepted": 1, "unchanged": 0, "corrected": 0}
    assert again == {"accepted": 1, "unchanged": 1, "corrected": 0}
    [label] = observations.label_history(Store(server.store).observations("small"))["some-0"]
    assert (label.label, label.observed_at) == (2.5, "2026-01-31T13:45:00.000Z")


BAD_LABELS = {
    "no content": {},
    "no labels": {"labels": []},
    "both forms": {"id": "a-0", "label": 1, "labels": [{"id": "b-0", "label": 1}]},
    "a path": {"labels": [{"id": "../x", "label": 1}]},
    "nothing told": {"labels": [{"id": "a-0"}]},
    "null": {"id": "a-0", "label": None},
    "true": {"labels": [{"id": "a-0", "label": True}]},
    "a list": {"id": "a-0", "label": [1]},
    "no text": {"id": "a-0", "label": ""},
    "not finite": b'{"id": "a-0", "label": NaN}',
    "too large": {"id": "a-0", "label": 2**63},
    "an unknown key": {"id": "a-0", "label": 1, "tiem": "2026-01-01T00:00:00Z"},
    "no time zone": {"id": "a-0", "label": 1, "time": "2026-01-01T00:00:00"},
    "no time": {"id": "a-0", "label": 1, "time": 7},
    "one bad of two": {"labels": [{"id": "a-0", "label": 1}, {"id": 7, "label": 1}]},
    "two for one id": {"labels": [{"id": "a-0", "label": 1}, {"id": "a-0", "label": 2}]},
}


@pytest.mark.parametrize("content", BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused_as_a_whole(shared_server, content):
    server = shared_server
    refused = server.post("/v1/models/small:label", content)
    assert refused.status_code == 400
    assert "label" in refused.json()["error"]
    assert not observations.labels(Store(server.store).observations("small"))


def test_of_two_labels_for_one_id_the_refusal_says_which(shared_server):
    labels = [{"id": key, "label": label} for key, label in (("a-0", 1), ("b-0", 0), ("a-0", 2))]
    refused = shared_server.post("/v1/models/small:label", {"labels": labels})
    assert refused.json()["error"] == (
        "labels[2]: a-0 is 2, and 1 in labels[0]; tell one label for each id"
    )


def test_labels_for_an_unknown_model_are_not_found_and_leave_no_folder(server):
    refused = server.post("/v1/models/other:label", {"labels": [{"id": "a-0", "label": 1}]})
    assert refused.status_code == 404
    assert not Store(server.store).observations("other").exists()


def test_the_client_tells_a_refusal_from_a_server_that_is_not_there(server):
    client = Client(server.url, timeout_seconds=5)
    with pytest.raises(DeploymentError, match="status 400"):
        client.predict("small", [{"width": 1}])
    server.kill()
    with pytest.raises(TransientError, match="no answer from the model server"):
        client.predict("small", [ROW])
