"""The adapter: steps as tasks, errors as Airflow's, decisions that skip."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from uuid import UUID

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, chain
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    DownstreamTasksSkipped,
    TaskDeferred,
)
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from perennial.operators.ask import AskOperator
from perennial.operators.degraded import DegradedOperator
from perennial.operators.end import EndOperator
from perennial.operators.gate import GateOperator
from perennial.operators.step import DecisionOperator, StepOperator
from perennial.sensors.retraining import RetrainingSensor
from perennial.triggers.answer import AnswerTrigger
from perennial.triggers.retraining import RetrainingTrigger
from pipeline_tasks import loop
from pipeline_tasks.core.errors import DataError, TransientError
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Answer, MonitoringRecord, Ref, Verdict
from pipeline_tasks.run import default_store

REF = Ref(pipeline="small", run="run", artifact="raw", digest="d", summary={"rows": 3})


class TaskInstance:
    """XCom as a dictionary."""

    id, try_number, max_tries = UUID(int=7), 1, 0

    def __init__(self, **values):
        self.values = values

    def xcom_pull(self, task_ids, key="return_value"):
        return self.values.get(task_ids)

    def xcom_push(self, key, value):
        self.values[key] = value


def context(params=None, **pulled):
    run = SimpleNamespace(
        run_id="run 1", dag_id="small__retrain", triggering_user_name="ana", run_type=None
    )
    return {
        "params": params or {},
        "dag_run": run,
        "ti": TaskInstance(**pulled),
        "outlet_events": {},
    }


@pytest.fixture
def pipeline(small):
    return small().run().config


@pytest.fixture
def step(monkeypatch):
    """Puts a function in a step's place and keeps what it is called with."""
    calls = []

    def put(outcome):
        def function(run, **arguments):
            calls.append((run, arguments))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(loop, "function", lambda name: function)
        return calls

    return put


def test_a_step_gets_its_run_and_its_inputs_and_leaves_a_reference(pipeline, step):
    calls = step(REF)
    operator = StepOperator(step="check", pipeline=pipeline, inputs={"raw": "ingest"})
    left = operator.execute(context(ingest=REF.model_dump(mode="json")))
    assert Ref.model_validate(left) == REF
    [(run, arguments)] = calls
    assert (run.id, run.by, run.config) == ("run 1", "ana", pipeline)
    assert arguments == {"raw": REF}


def test_a_connection_that_only_airflow_knows_reaches_the_source(small, step, monkeypatch):
    from airflow.sdk import Connection

    from pipeline_tasks.sources import connection

    known = {
        "shop": Connection(conn_id="shop", conn_type="postgres", host="db", login="me",
                           password="s:e/c@ret", schema="orders", port=5433, extra='{"a": "b"}')
    }  # fmt: skip

    def get(name):
        if name in known:
            return known[name]
        raise AirflowNotFoundException(name)

    monkeypatch.setattr(Connection, "get", get)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "")
    monkeypatch.delenv("AIRFLOW_CONN_SHOP")
    source = {"kind": "sql", "connection": "shop", "table": "t"}
    step(REF)
    StepOperator(step="ingest", pipeline=small(source=source).run().config).execute(context())
    found = connection("shop")
    assert (found.kind, found.host, found.port, found.database) == (
        "postgres",
        "db",
        5433,
        "orders",
    )
    assert (found.login, found.password.get_secret_value()) == ("me", "s:e/c@ret")
    other = small(source=source | {"connection": "other"}).run().config
    StepOperator(step="ingest", pipeline=other).execute(context())
    assert "AIRFLOW_CONN_OTHER" not in os.environ


def test_the_forms_parameters_reach_the_run(pipeline, step):
    calls = step(REF)
    params = {"epochs": 3, "learning_rate": 0.5, "force": True, "reason": "to see"}
    StepOperator(step="ingest", pipeline=pipeline).execute(context(params))
    run = calls[0][0]
    assert (run.config.training.epochs, run.config.training.learning_rate) == (3, 0.5)
    assert run.force


def test_a_mistake_fails_at_once_and_a_passing_trouble_is_retried(pipeline, step):
    operator = StepOperator(step="ingest", pipeline=pipeline)
    step(DataError("rows.csv, row 3: 'x'", fix="mend the row"))
    with pytest.raises(AirflowFailException, match=r"DataError: rows.csv, row 3.*\n.*mend the row"):
        operator.execute(context())
    step(TransientError("no answer"))
    with pytest.raises(AirflowException, match="TransientError: no answer") as caught:
        operator.execute(context())
    assert not isinstance(caught.value, AirflowFailException)


def test_a_parameter_out_of_range_fails_at_once(pipeline, step):
    step(REF)
    with pytest.raises(AirflowFailException, match="epochs"):
        StepOperator(step="ingest", pipeline=pipeline).execute(context({"epochs": 0}))


def test_a_refusal_skips_what_follows_and_passes_its_reasons_on(pipeline, step):
    step(REF.model_copy(update={"summary": {"answer": "no", "reasons": "worse"}}))
    operator = DecisionOperator(step="gate", pipeline=pipeline)
    given = context()
    with pytest.raises(DownstreamTasksSkipped):
        operator.execute(given)
    assert given["ti"].values["return_value"]["summary"]["reasons"] == "worse"
    step(REF.model_copy(update={"summary": {"answer": "yes", "reasons": "better"}}))
    assert operator.execute(context())["summary"]["answer"] == "yes"


def test_the_task_explains_itself_with_the_steps_docstring(pipeline):
    from pipeline_tasks.steps.train import train

    assert StepOperator(step="train", pipeline=pipeline).doc_md.split() == train.__doc__.split()


def test_the_sensor_defers_without_a_time_limit_while_all_is_well(pipeline, store):
    sensor = RetrainingSensor(task_id="watch", pipeline=pipeline, poll_seconds=1)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(context())
    assert caught.value.timeout is None
    path, arguments = caught.value.trigger.serialize()
    assert path == "perennial.triggers.retraining.RetrainingTrigger"
    assert RetrainingTrigger(**arguments).serialize() == (path, arguments)


def test_a_persons_reason_is_something_to_decide_on_at_once(pipeline, store):
    sensor = RetrainingSensor(task_id="watch", pipeline=pipeline)
    assert sensor.execute(context({"reason": "the catalogue is new"})) == "by_hand"


def test_a_run_that_is_in_the_way_of_one_triggered_by_hand_ends(pipeline, store, waiting):
    trigger = watch(pipeline)
    waiting.append("a run")
    assert asyncio.run(anext(trigger.run())).payload == ""
    sensor = RetrainingSensor(task_id="watch", pipeline=pipeline)
    with pytest.raises(AirflowSkipException, match="triggered by hand"):
        sensor.execute_complete(context(), "")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PERENNIAL_STORE", str(tmp_path))
    return Store(tmp_path)


@pytest.fixture(autouse=True)
def waiting(monkeypatch):
    """The runs that Airflow says are queued."""
    found = []
    monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", lambda **_: len(found))
    return found


def watch(pipeline):
    return RetrainingTrigger(
        pipeline=pipeline.model_dump(mode="json", by_alias=True),
        run="run 1",
        dag="small__retrain",
        poll_seconds=0.05,
    )


def test_the_trigger_outlives_a_store_that_does_not_answer_for_a_moment(
    pipeline, store, monkeypatch
):
    looks = []

    def undecided(*_):
        looks.append(None)
        if len(looks) < 3:
            raise TransientError("the store is away")
        raise KeyError

    monkeypatch.setattr(Store, "undecided", undecided)
    with pytest.raises(KeyError):
        asyncio.run(anext(watch(pipeline).run()))
    assert len(looks) == 3


def test_the_trigger_fires_once_the_newest_verdict_is_degraded(pipeline, store):
    def record(name, answer):
        store.record_monitoring(
            "small",
            MonitoringRecord(
                id=name,
                at=name,
                version=1,
                verdict=Verdict(answer=answer, reasons=("r",)),
                causes=(),
                episode=name,
                report=REF,
                numbers={},
                prediction_watermark="",
                label_watermark="",
            ),
        )

    async def fired():
        events = watch(pipeline).run()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.2)
        assert not first.done()
        record("bad", Answer.YES)
        return (await asyncio.wait_for(first, 5)).payload

    record("good", Answer.NO)
    assert asyncio.run(fired()) == "bad"


NO = REF.model_copy(update={"summary": {"answer": "no", "reasons": "worse; much worse"}})
ASSET = Asset("small degraded")
YES = REF.model_copy(update={"summary": {"answer": "yes", "reasons": "better"}})


@pytest.fixture
def asked(monkeypatch):
    """The questions that are put before a person."""
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    found = []
    monkeypatch.setattr(ApprovalOperator, "execute", lambda self, _: found.append(self.body))
    return found


@pytest.mark.parametrize(
    ("approval", "left", "asks"),
    [
        ("never", YES, False),
        ("refused", YES, False),
        ("refused", NO, True),
        ("always", YES, True),
        ("always", NO, True),
    ],
)
def test_the_gate_asks_a_person_when_the_file_or_the_form_says_so(
    pipeline, step, asked, approval, left, asks
):
    step(left)
    GateOperator(pipeline=pipeline).execute(context({"approval": approval}))
    assert bool(asked) == asks
    if asked:
        assert left.summary["reasons"].split("; ")[0] in asked[0]
        told = default_store().notices(pipeline.name)[-1]
        assert (told.title, told.is_sent) == ("Promote the candidate small?", True)


def tried(number, *, cleared_after=0):
    """The context of this try of the gate, which may be retried twice."""
    given = context({"approval": "always"})
    given["ti"].try_number, given["ti"].max_tries = number, cleared_after + 2
    return given


@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_a_retry_takes_the_answer_that_an_earlier_try_was_given(pipeline, step, asked, answer):
    calls = step(NO if answer == "Reject" else YES)
    operator, given = GateOperator(pipeline=pipeline, retries=2), tried(2)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(given)
    assert isinstance(caught.value.trigger, AnswerTrigger)
    assert caught.value.trigger.serialize()[1] == {"ti_id": str(given["ti"].id)}
    go_on = getattr(operator, caught.value.method_name)
    if answer == "Reject":
        with pytest.raises(DownstreamTasksSkipped):
            go_on(given, event=event(answer), **caught.value.kwargs)
    else:
        go_on(given, event=event(answer), **caught.value.kwargs)
        assert calls[-1][1] == {"approved_by": "ana"}
    assert not asked


def test_a_retry_that_finds_no_answer_asks(pipeline, step, asked):
    step(NO)
    operator, given = GateOperator(pipeline=pipeline, retries=2), tried(3)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(given)
    getattr(operator, caught.value.method_name)(given, event=None, **caught.value.kwargs)
    assert asked == ["The gate says **no**:\n\n- worse\n- much worse"]


def test_a_task_that_somebody_clears_asks_anew(pipeline, step, asked):
    step(NO)
    GateOperator(pipeline=pipeline, retries=2).execute(tried(4, cleared_after=3))
    assert len(asked) == 1


@pytest.mark.parametrize(("kind", "is_told"), [("scheduled", True), ("backfill", False)])
def test_a_degraded_verdict_is_an_event_with_its_reasons_but_not_in_a_backfill(kind, is_told):
    event = SimpleNamespace(extra=None)
    given = context(monitor=NO.model_dump(mode="json"))
    given |= {"dag_run": SimpleNamespace(run_type=kind), "outlet_events": {ASSET: event}}
    operator = DegradedOperator(verdict="monitor", outlets=[ASSET])
    if is_told:
        operator.execute(given)
        assert event.extra["reasons"] == "worse; much worse"
        return
    with pytest.raises(AirflowSkipException):
        operator.execute(given)
    assert event.extra is None


CHAIN = ("train", "gate", "export", "bake")


@pytest.mark.parametrize(
    ("states", "decided", "complaint"),
    [
        ({}, None, None),
        ({"export": "skipped", "bake": "skipped"}, ["export"], None),
        ({"train": "failed", "gate": "upstream_failed"}, None, "train failed"),
        ({"train": "failed", "gate": "skipped", "bake": "skipped"}, None, "train failed"),
        ({"gate": "skipped", "bake": "skipped"}, None, "ended the run by hand, before gate"),
        ({"bake": "failed", "export": "failed"}, None, "export and bake failed"),
    ],
)
def test_the_end_of_a_run_is_red_unless_nothing_failed_and_a_decision_skipped_the_rest(
    states, decided, complaint
):
    with DAG("fruit__train") as dag:
        end = EndOperator()
        chain(*(EmptyOperator(task_id=name) for name in CHAIN), end)
    found = {"run 1": dict.fromkeys(CHAIN, "success") | states}
    given = SimpleNamespace(
        get_task_states=lambda dag_id, run_ids: found,
        xcom_pull=lambda task_ids, key: [decided if one == "gate" else None for one in task_ids],
    )
    context = {"run_id": "run 1", "ti": given, "dag": dag}
    if complaint is None:
        end.execute(context)
        return
    with pytest.raises(AirflowFailException, match=complaint):
        end.execute(context)


def event(*chosen):
    person = {"id": "ana", "name": "ana"}
    return {"chosen_options": list(chosen), "params_input": {}, "responded_by_user": person}


def test_an_approval_is_recorded_with_the_persons_name(pipeline, step):
    calls = step(YES)
    operator = GateOperator(pipeline=pipeline)
    assert operator.execute_complete(context(), event("Approve"))["summary"]["answer"] == "yes"
    assert calls[0][1] == {"approved_by": "ana"}


def test_a_rejection_skips_what_follows(pipeline, step):
    step(NO)
    with pytest.raises(DownstreamTasksSkipped):
        GateOperator(pipeline=pipeline).execute_complete(context(), event("Reject"))


ASKED = REF.model_copy(update={"summary": {"answer": "ask", "reasons": "in vain; twice"}})


def asker(pipeline):
    return AskOperator(task_id="ask", pipeline=pipeline, inputs={"subject": "watch"})


def test_a_decision_that_asks_goes_on_to_the_person(pipeline, step):
    step(ASKED)
    operator = DecisionOperator(step="decide", pipeline=pipeline, inputs={"subject": "watch"})
    assert operator.execute(context(watch="due"))["summary"]["answer"] == "ask"


@pytest.mark.parametrize(("decided", "is_asked"), [(YES, False), (ASKED, True)])
def test_a_person_is_asked_about_a_retraining_only_when_the_decision_says_so(
    pipeline, step, asked, decided, is_asked
):
    step(decided)
    asker(pipeline).execute(context(watch="due"))
    assert asked == (["- in vain\n- twice"] if is_asked else [])


def test_what_the_person_says_about_a_retraining_reaches_the_step(pipeline, step):
    calls = step(YES)
    asker(pipeline).execute_complete(context(watch="due"), event("Approve"))
    assert calls[0][1] == {"subject": "due", "approved_by": "ana"}
    calls = step(NO)
    with pytest.raises(DownstreamTasksSkipped):
        asker(pipeline).execute_complete(context(watch="due"), event("Reject"))
    assert calls[-1][1] == {"subject": "due", "refused_by": "ana"}
