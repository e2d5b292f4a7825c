"""<name>__retrain: watch > decide > trigger, round and round."""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from perennial.operators.step import DecisionOperator
from perennial.pipelines import default_args, pipelines
from perennial.sensors.degradation import DegradationSensor

DOC = """
Waits until **{name}** degrades, and decides. One run of this DAG is always there: *watch* is
deferred and takes no worker slot while production is healthy.

*decide* says yes when training can mend what is wrong, there are labels to learn from, this episode
has had no retraining yet and the cool-down is over; its reasons are in its log. *trigger* starts
`{name}__train`, which re-enters at *ingest*, and waits for it.

**Pause** this DAG to keep {name} from retraining by itself.
"""
REASONS = "{{ ti.xcom_pull('decide')['summary']['reasons'] }}"
EPISODE = "{{ ti.xcom_pull('decide')['summary']['episode'] }}"

for pipeline in pipelines():
    with DAG(
        dag_id=f"{pipeline.name}__retrain",
        dag_display_name=f"{pipeline.name} · retrain",
        description=f"Retrains {pipeline.name} when it degrades.",
        doc_md=DOC.format(name=pipeline.name),
        schedule="@continuous",
        # Without a start date the second run would begin at the same moment as the first, and
        # Airflow would take it for the same run for ever.
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        max_active_runs=1,
        is_paused_upon_creation=pipeline.paused,
        default_args=default_args(pipeline),
        tags=["perennial", pipeline.name],
    ):
        watch = DegradationSensor(
            task_id="watch",
            pipeline=pipeline.name,
            execution_timeout=None,
            doc_md="Waits, without a worker slot, for a degraded verdict nobody has decided on.",
        )
        decide = DecisionOperator(step="decide", pipeline=pipeline, inputs={"subject": "watch"})
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
        watch >> decide >> trigger
