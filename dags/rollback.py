"""<name>__rollback: one click back to an earlier version."""

from airflow.sdk import DAG

from perennial.failure import FailureNotifier
from perennial.operators.step import StepOperator
from perennial.pipelines import asset, default_args, pipelines, rollback_form

DOC = """
Puts an earlier version of **{name}** back into production, within seconds: it is loaded beside the
one that answers, takes over, and the newer versions are out of the server's sight (their files
stay). While a candidate is on trial, leaving the version empty ends the trial.

**Trigger** it, say why, and choose a version or leave it empty for the last good one. Who did it,
when, why and how many seconds it took is kept in the history. The model left behind is in
quarantine: no run promotes it again by itself. To go forward again, or to lift a quarantine,
choose that version here.
"""

for pipeline in pipelines():
    with DAG(
        dag_id=f"{pipeline.name}__rollback",
        dag_display_name=f"{pipeline.name} · rollback",
        description=f"An earlier version of {pipeline.name} answers again.",
        doc_md=DOC.format(name=pipeline.name),
        schedule=None,
        max_active_runs=1,
        is_paused_upon_creation=pipeline.paused,
        default_args=default_args(pipeline),
        on_failure_callback=FailureNotifier(pipeline),
        params=rollback_form(pipeline),
        tags=["perennial", pipeline.name],
    ):
        StepOperator(
            step="rollback",
            pipeline=pipeline,
            from_params=("version", "reason"),
            outlets=[asset(pipeline, "deployment")],
        )
