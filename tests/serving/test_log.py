"""What was asked and answered is kept, and labels find it later."""

from __future__ import annotations

import pytest

from pipeline_tasks import observations
from pipeline_tasks.core.errors import DeploymentError, TransientError
from pipeline_tasks.core.store import Store
from pipeline_tasks.serving.client import Client
from tests.serving.conftest import ROW


def logged(server) -> list[observations.Prediction]:
    return list(observations.predictions(Store(server.store).observations("small")))


def test_every_row_is_logged_with_id_version_answer_and_latency(server):
    answers, version, identity = Client(server.url).predict("small", [ROW, ROW | {"width": -1.5}])
    server.wait(lambda: len(logged(server)) == 2)
    found = {one.id: one for one in logged(server)}
    second = found[f"{identity}-1"]
    assert second.version == version == 1
    assert second.inputs == {"width": -1.5, "height": 0.25, "colour": "red"}
    assert second.outputs["label"] == answers[1]["label"]
    assert second.latency_ms > 0


def test_a_missing_number_is_asked_as_nan(server):
    answers, _, _ = Client(server.url).predict("small", [ROW | {"height": float("nan")}])
    assert answers[0]["label"] in (0, 1)


def test_a_probe_is_answered_and_not_logged(server):
    client = Client(server.url)
    client.predict("small", [ROW], is_probe=True)
    _, _, identity = client.predict("small", [ROW])
    server.wait(lambda: logged(server))
    assert [one.id for one in logged(server)] == [f"{identity}-0"]


def test_what_was_answered_a_second_before_sigkill_is_in_the_log(server):
    client = Client(server.url)
    sent = {f"{client.predict('small', [ROW])[2]}-0" for _ in range(200)}
    server.wait(lambda: len(logged(server)) == 200, seconds=1.5)
    server.kill()
    assert {one.id for one in logged(server)} == sent
    server.start()
    Client(server.url).wait_available("small", 1, timeout_seconds=30)
    Client(server.url).predict("small", [ROW])
    server.wait(lambda: len(logged(server)) == 201)


def test_a_torn_last_line_is_left_out(server):
    Client(server.url).predict("small", [ROW])
    server.wait(lambda: logged(server))
    server.kill()
    [segment] = Store(server.store).observations("small").glob("predictions/*/*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"id": "half')
    assert len(logged(server)) == 1


def test_a_label_finds_its_prediction_and_a_later_one_corrects_it(server):
    client = Client(server.url)
    _, _, identity = client.predict("small", [ROW, ROW])
    assert client.label("small", {f"{identity}-0": 0, f"{identity}-1": 1}) == 2
    client.label("small", {f"{identity}-0": 1})
    folder = Store(server.store).observations("small")
    server.wait(lambda: len(logged(server)) == 2)
    found = {one.prediction.id: one.label.label for one in observations.labelled(folder)}
    assert found == {f"{identity}-0": 1, f"{identity}-1": 1}


BAD_LABELS = [
    {},
    {"labels": []},
    {"labels": [{"id": "../x", "label": 1}]},
    {"labels": [{"id": "a-0"}]},
    {"labels": [{"id": "a-0", "label": True}]},
    {"labels": [{"id": "a-0", "label": 1.5}]},
    {"labels": [{"id": "a-0", "label": 1}, {"id": 7, "label": 1}]},
]


@pytest.mark.parametrize("content", BAD_LABELS)
def test_bad_labels_are_refused_as_a_whole(shared_server, content):
    server = shared_server
    refused = server.post("/v1/models/small:label", content)
    assert refused.status_code == 400
    assert "label" in refused.json()["error"]
    assert not observations.labels(Store(server.store).observations("small"))


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
