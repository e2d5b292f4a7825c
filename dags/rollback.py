"""<name>__rollback: one click back to an earlier version."""

from airflow.sdk import DAG, Param

from perennial.operators.step import StepOperator
from perennial.pipelines import asset, default_args, pipelines

DOC = """
Puts an earlier version of **{name}** back into production, within seconds: the newer versions are
taken out of the server's sight (their files stay) and the one before answers again.

**Trigger** it, say why, and choose a version or leave it empty for the one before. Who did it, when
and why is kept in the history. To go forward again, roll back to the newer version's number.
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
        params={
            "version": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                title="Version",
                description="The version that shall answer; empty for the one before this.",
            ),
            "reason": Param(
                type="string",
                minLength=3,
                title="Reason",
                description="Why: it is kept in the history, with your name.",
            ),
        },
        tags=["perennial", pipeline.name],
    ):
        StepOperator(
            step="rollback",
            pipeline=pipeline,
            from_params=("version", "reason"),
            outlets=[asset(pipeline, "deployment")],
        )
