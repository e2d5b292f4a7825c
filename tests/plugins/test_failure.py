"""Who is told of a task that has failed for good: by the task itself, or by its DAG."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from perennial.failure import DIED, FailureNotifier

RUN = "http://airflow.example/dags/small__train/runs/r"
TI = SimpleNamespace(dag_id="small__train", task_id="check", log_url=f"{RUN}/tasks/check?try=1")


@pytest.fixture
def told(small, monkeypatch, tmp_path):
    made = small()
    monkeypatch.setenv("PERENNIAL_STORE", str(tmp_path / "store"))
    notifier = FailureNotifier(made.run().config)

    def tell(**context):
        notifier({"run_id": "r", "dag": DAG("small__train")} | context)
        return [(one.title, one.text) for one in made.run().store.notices("small")]

    return tell


def test_a_task_says_why_and_its_dag_need_not_repeat_it(told):
    error = AirflowFailException("DataError: rows.csv, row 7: no colour")
    [(title, text)] = told(ti=TI, exception=error)
    assert title == "small__train failed at check"
    assert text == f"- DataError: rows.csv, row 7: no colour\n- its log: {TI.log_url}"
    assert len(told(ti=TI, reason="task_failure")) == 1


def test_what_another_library_raises_is_not_told_in_its_words(told):
    [(_, text)] = told(ti=TI, exception=ValueError("postgres://me:hush@db"))
    assert "ValueError" in text
    assert "hush" not in text


@pytest.mark.parametrize("more", [{"ti": TI}, {}])
def test_the_dag_speaks_for_a_task_whose_process_is_gone(told, more):
    [(title, text)] = told(reason="task_failure", **more)
    assert title == "small__train failed"
    assert DIED in text
    assert (RUN in text) == bool(more)
