"""Replace, canary and shadow behind a real server, without Airflow: promoted, or taken away.

The tests share one server and one history, and run in the order of the file.
"""

from __future__ import annotations

import pytest

from pipeline_tasks import loop
from pipeline_tasks.release import desired
from tests.deployment.conftest import CANARY, bad
from tests.small import csv_text

EASY = {"minimum": 0.0, "margin": 1.0, "slice_margin": 1.0}


def asked_of(one) -> desired.Desired:
    return desired.read(one.server.models / "small")


@pytest.mark.parametrize(
    ("strategy", "model", "said"),
    [
        ("canary", "fails_far_away", "requests were refused, the champion's 0 of"),
        ("canary", "nan_far_away", "rows answered with NaN or infinity"),
        ("shadow", "fails_far_away", "requests failed"),
        ("shadow", "slow_far_away", "requests took longer than the limit of 250 ms"),
    ],
)
def test_a_bad_candidate_is_taken_away_by_itself_and_quarantined(deployed, strategy, model, said):
    before = len(deployed.events())
    # Each of them is another model, as a candidate in quarantine comes no further than the gate.
    rules = CANARY | {"strategy": strategy, "error_margin": 0.02}
    deployed.change(model=bad(model), deployment=rules, training={"epochs": 5 + before})
    with deployed.traffic() as traffic:
        left = deployed.train()
        assert list(left)[-1] == "withdraw", left
        assert said in left["withdraw"].summary["reasons"]
    assert "deploy" not in left
    assert deployed.champion() == 1
    assert asked_of(deployed) == desired.settled(1)
    assert traffic.failures == [], "what a candidate fails, the champion answers"
    assert deployed.events()[before:] == ["incident"]


def test_a_model_in_quarantine_comes_no_further_than_the_gate_until_a_person_approves(deployed):
    again = deployed.train()
    assert list(again)[-1] == "gate"
    assert "in quarantine since" in again["gate"].summary["reasons"]
    run = deployed.run()
    inputs = {name: again[of] for name, of in loop.NEEDS["gate"].items()}
    approved = loop.function("gate")(run, **inputs, approved_by="ana")
    assert approved.summary["answer"] == "yes"
    lifted = run.store.history("small")[-1]
    assert (lifted.event, lifted.reasons) == ("quarantine lifted", ("approved by ana",))


def test_little_traffic_is_decided_by_the_file(deployed):
    rules = CANARY | {"step_minutes": 0.02, "on_little_traffic": "refuse"}
    deployed.change(model={"kind": "mlp", "hidden": [6]}, deployment=rules, promotion=EASY)
    left = deployed.train()
    assert list(left)[-2:] == ["canary_30", "withdraw"], left
    assert left["canary_30"].summary["answer"] == "not_enough_data"
    assert deployed.events()[-1] == "refusal", "which is no quarantine"
    deployed.change(deployment=rules | {"on_little_traffic": "promote"})
    assert list(deployed.train())[-1] == "bake"
    assert deployed.champion() > 2, "a number is never used again"


def test_a_shadow_that_does_well_goes_on_and_no_client_saw_it_before(deployed):
    deployed.change(
        model={"kind": "mlp", "hidden": [7]}, deployment=CANARY | {"strategy": "shadow"}
    )
    champion = deployed.champion()
    with deployed.traffic() as traffic:
        left = dict(loop.run_steps(deployed.run(), until="shadow"))
        seen = set(traffic.answered)
    assert left["shadow"].summary["answer"] == "yes", left["shadow"].summary
    assert "answers differ from the champion's" in left["shadow"].summary["reasons"]
    assert seen == {champion}


def test_a_good_candidate_goes_up_step_by_step_and_is_promoted(deployed):
    before = deployed.champion()
    deployed.change(model={"kind": "mlp", "hidden": [8]}, deployment=CANARY)
    with deployed.traffic() as traffic:
        left = deployed.train()
    assert list(left)[-5:] == ["publish", "canary_30", "canary_60", "deploy", "bake"], left
    assert "requests failed, the champion's 0 of" in left["canary_30"].summary["reasons"]
    after = deployed.champion()
    assert after > before
    assert asked_of(deployed) == desired.settled(after)
    assert traffic.failures == []
    assert set(traffic.answered) == {before, after}


def test_a_breach_while_baking_rolls_back_and_tells(deployed, caplog):
    before = deployed.champion()
    rules = {"strategy": "replace", "bake_minutes": 1.0}
    deployed.change(model=bad("nan_far_away"), deployment=rules, training={"epochs": 4})
    with deployed.traffic() as traffic:
        left = deployed.train()
    assert list(left)[-3:] == ["deploy", "bake", "withdraw"], left
    assert "NaN or infinity" in left["bake"].summary["reasons"]
    assert (deployed.champion(), asked_of(deployed)) == (before, desired.settled(before))
    assert deployed.events()[-3:] == ["promotion", "incident", "rollback"]
    back = deployed.run().store.history("small")[-1]
    assert (back.version, back.by) == (before, "perennial")
    assert back.seconds is not None
    assert traffic.failures == []
    assert "of small was taken away" in caplog.text


def test_labels_that_say_the_candidate_is_wrong_end_its_canary(deployed):
    """Trained on swapped labels: right on its own test rows, and wrong in the world."""
    before = deployed.champion()
    rows = csv_text().splitlines()
    swapped = [row[:-1] + str(1 - int(row[-1])) for row in rows[1:]]
    deployed.made.csv.write_text("\n".join([rows[0], *swapped]) + "\n")
    rules = CANARY | {"minimum_labelled": 10}
    deployed.change(model=bad("good"), deployment=rules, training={"epochs": 40})
    with deployed.traffic(is_labelled=True):
        left = deployed.train()
    assert left["gate"].summary["answer"] == "yes"
    assert "labelled rows answered wrongly" in left["withdraw"].summary["reasons"]
    assert deployed.champion() == before
