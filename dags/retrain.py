"""<name>__retrain: watch > decide > ask > trigger, round and round."""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from perennial.failure import FailureNotifier
from perennial.operators.ask import AskOperator
from perennial.operators.step import DecisionOperator
from perennial.pipelines import default_args, pipelines, retraining_form
from perennial.sensors.retraining import RetrainingSensor

DOC = """
Waits until a retraining of **{name}** is worth a decision, and decides. One run of this DAG is
always there: *watch* is deferred and takes no worker slot while nothing calls.

What calls: a degraded verdict of `{name}__monitor`, and, where the pipeline file says so, the
champion's age, new labelled rows, and the rows that have come since a change was trained on.

*decide* says yes when training can mend what is wrong, there are labels to learn from, this episode
has had no retraining yet, the cool-down is over and the budget not spent. Its reasons are in its
log, its evidence in the history. When the last retrainings brought no proven gain, *ask* puts it
before a person, under "Required Actions". *trigger* starts `{name}__train`, which re-enters at
*ingest*, and waits for it.

**Trigger** this DAG with a reason to retrain now: the run that watches makes room for yours.
**Pause** it to keep {name} from retraining by itself.
"""
REASONS = "{{ ti.xcom_pull('ask')['summary']['reasons'] }}"
EPISODE = "{{ ti.xcom_pull('ask')['summary']['episode'] }}"

for pipeline in pipelines():
    with DAG(
        dag_id=f"{pipeline.name}__retrain",
        dag_display_name=f"{pipeline.name} · retrain",
        description=f"Retrains {pipeline.name} when it pays.",
        doc_md=DOC.format(name=pipeline.name),
        schedule="@continuous",
        # Without a start date the second run would begin at the same moment as the first, and
        # Airflow would take it for the same run for ever.
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        max_active_runs=1,
        is_paused_upon_creation=pipeline.paused,
        default_args=default_args(pipeline),
        on_failure_callback=FailureNotifier(pipeline),
        params=retraining_form(),
        tags=["perennial", pipeline.name],
    ):
        watch = RetrainingSensor(
            task_id="watch",
            pipeline=pipeline,
            execution_timeout=None,
            doc_md="Waits, without a worker slot, for something that is worth a decision.",
        )
        decide = DecisionOperator(
            step="decide", pipeline=pipeline, inputs={"subject": "watch"}, from_params=["reason"]
        )
        ask = AskOperator(
            task_id="ask",
            pipeline=pipeline,
            inputs={"subject": "watch"},
            doc_md="Asks a person, where the last retrainings brought no proven gain.",
        )
        trigger = TriggerDagRunOperator(
            task_id="trigger",
            trigger_dag_id=f"{pipeline.name}__train",
            trigger_run_id=f"retrain__{EPISODE}",
            logical_date=None,
            conf={"reason": REASONS},
            note=f"Retraining: {REASONS}",
            skip_when_already_exists=True,
            wait_for_completion=True,
            deferrable=True,
            poke_interval=5,
            execution_timeout=timedelta(days=2),
            doc_md=f"Starts {pipeline.name}__train once for each episode, and waits for its end.",
        )
        watch >> decide >> ask >> trigger
