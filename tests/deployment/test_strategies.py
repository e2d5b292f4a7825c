"""Replace, canary and shadow behind a real server, without Airflow: promoted, or taken away."""

from __future__ import annotations

import pytest

from pipeline_tasks import desired, loop
from tests.deployment.test_guards import bad
from tests.small import csv_text

CANARY = {
    "strategy": "canary",
    "steps": [30, 60],
    "step_minutes": 0.5,
    "minimum_requests": 30,
    "confidence": 0.95,
    "error_margin": 0.2,
    "bake_minutes": 0.05,
}
EASY = {"minimum": 0.5, "margin": 1.0, "slice_margin": 1.0}


def started(deployed, **content):
    """A pipeline with a first good version in production."""
    one = deployed(
        **{"model": bad("good"), "promotion": EASY, "deployment": CANARY, "metrics": ["accuracy"]}
        | content
    )
    left = one.train()
    assert list(left)[-1] == "bake", left
    assert one.champion() == 1
    return one


def asked_of(one) -> desired.Desired:
    return desired.read(one.server.models / "small")


def test_a_good_candidate_goes_up_step_by_step_and_is_promoted(deployed):
    one = started(deployed)
    one.change(model={"kind": "mlp", "hidden": [8]})
    with one.traffic() as traffic:
        left = one.train()
    assert list(left)[-5:] == ["publish", "canary_30", "canary_60", "deploy", "bake"]
    assert "requests failed, the champion's 0 of" in left["canary_30"].summary["reasons"]
    assert one.champion() == 2
    assert asked_of(one) == desired.settled(2)
    assert traffic.failures == []
    assert set(traffic.answered) == {1, 2}
    assert one.events() == ["promotion", "promotion"]


@pytest.mark.parametrize(
    ("strategy", "model", "said"),
    [
        ("canary", "fails_far_away", "requests failed, the champion's 0 of"),
        ("canary", "nan_far_away", "rows answered with NaN or infinity"),
        ("canary", "slow_far_away", "requests took longer than the limit of 250 ms"),
        ("shadow", "fails_far_away", "requests failed"),
        ("shadow", "nan_far_away", "rows answered with NaN or infinity"),
    ],
)
def test_a_bad_candidate_is_taken_away_by_itself_and_quarantined(deployed, strategy, model, said):
    one = started(deployed)
    one.change(model=bad(model), deployment=CANARY | {"strategy": strategy, "error_margin": 0.02})
    with one.traffic() as traffic:
        left = one.train()
        assert list(left)[-1] == "withdraw", left
        assert said in left["withdraw"].summary["reasons"]
        assert left["withdraw"].summary["seconds_to_effect"] < 60
    assert "deploy" not in left
    assert one.champion() == 1
    assert asked_of(one) == desired.settled(1)
    assert traffic.failures == [], "what a candidate fails, the champion answers"
    assert one.events() == ["promotion", "incident"]
    again = one.train()
    assert list(again)[-1] == "gate"
    assert "in quarantine since" in again["gate"].summary["reasons"]


def test_a_shadow_that_does_well_is_promoted_and_no_client_saw_it_before(deployed):
    one = started(deployed)
    rules = CANARY | {"strategy": "shadow"}
    one.change(model={"kind": "mlp", "hidden": [8]}, deployment=rules)
    with one.traffic() as traffic:
        left = dict(loop.run_steps(one.run(), until="shadow"))
        seen = set(traffic.answered)
    assert left["shadow"].summary["answer"] == "yes"
    assert "answers differ from the champion's" in left["shadow"].summary["reasons"]
    assert seen == {1}


def test_labels_that_say_the_candidate_is_wrong_end_its_canary(deployed):
    """Trained on swapped labels: right on its own test rows, and wrong in the world."""
    one = started(deployed)
    rows = csv_text().splitlines()
    swapped = [row[:-1] + str(1 - int(row[-1])) for row in rows[1:]]
    one.made.csv.write_text("\n".join([rows[0], *swapped]) + "\n")
    one.change(deployment=CANARY | {"minimum_labelled": 10})
    with one.traffic(is_labelled=True):
        left = one.train()
    assert left["gate"].summary["answer"] == "yes"
    assert "labelled rows answered wrongly" in left["withdraw"].summary["reasons"]
    assert one.champion() == 1


def test_a_breach_while_baking_rolls_back_and_tells(deployed, caplog):
    one = started(deployed)
    rules = {"strategy": "replace", "bake_minutes": 1.0}
    one.change(model=bad("nan_far_away"), deployment=rules)
    with one.traffic() as traffic:
        left = one.train()
    assert list(left)[-3:] == ["deploy", "bake", "withdraw"]
    assert "NaN or infinity" in left["bake"].summary["reasons"]
    assert (one.champion(), asked_of(one)) == (1, desired.settled(1))
    assert one.events() == ["promotion", "promotion", "incident", "rollback"]
    back = one.run().store.history("small")[-1]
    assert (back.version, back.previous_version, back.by) == (1, 2, "perennial")
    assert back.seconds is not None
    assert traffic.failures == []
    assert "version 2 of small was taken away" in caplog.text


def test_little_traffic_is_decided_by_the_file(deployed):
    one = started(deployed)
    rules = CANARY | {"step_minutes": 0.02, "on_little_traffic": "refuse"}
    one.change(model={"kind": "mlp", "hidden": [8]}, deployment=rules)
    left = one.train()
    assert list(left)[-2:] == ["canary_30", "withdraw"]
    assert left["canary_30"].summary["answer"] == "not_enough_data"
    assert one.events() == ["promotion", "refusal"], "which is no quarantine"
    one.change(deployment=rules | {"on_little_traffic": "promote"})
    assert list(one.train())[-1] == "bake"
    assert one.champion() == 3, "number 2 is never used again"
