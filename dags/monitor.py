"""<name>__monitor: collect > monitor > degraded."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, chain

from perennial.failure import FailureNotifier
from perennial.operators.degraded import DegradedOperator
from perennial.operators.step import DecisionOperator, StepOperator
from perennial.pipelines import asset, default_args, pipelines

DOC = """
Looks at **{name}** in production: *collect* joins what was asked and answered since the last look
with the labels that have arrived, *monitor* compares quality, inputs, answers, latency and memory
with what the champion was promoted with.

The verdict is in the log of *monitor*, in plain words: healthy, degraded, or not enough data.
`{name}__retrain` waits for a degraded one, and *degraded*, which is skipped otherwise, makes it
an event of the asset `{name} degraded`, on which you can schedule DAGs of your own.
"""

for pipeline in pipelines():
    with DAG(
        dag_id=f"{pipeline.name}__monitor",
        dag_display_name=f"{pipeline.name} · monitor",
        description=f"Is {pipeline.name} healthy in production?",
        doc_md=DOC.format(name=pipeline.name),
        schedule=CronTriggerTimetable(
            pipeline.monitoring.schedule, timezone="UTC", run_immediately=timedelta(0)
        ),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=pipeline.paused,
        default_args=default_args(pipeline),
        on_failure_callback=FailureNotifier(pipeline),
        tags=["perennial", pipeline.name],
    ):
        chain(
            StepOperator(step="collect", pipeline=pipeline, inlets=[asset(pipeline, "deployment")]),
            DecisionOperator(step="monitor", pipeline=pipeline, inputs={"window": "collect"}),
            DegradedOperator(
                verdict="monitor",
                outlets=[asset(pipeline, "degraded")],
                doc_md=f"Skipped while {pipeline.name} is healthy; otherwise an asset event, for "
                "any DAG that is to know of it.",
            ),
        )
