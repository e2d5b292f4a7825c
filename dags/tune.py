"""<name>__tune: ingest > check > prepare > trial, trial, ... > choose."""

from airflow.sdk import DAG, Param, chain

from perennial.failure import FailureNotifier
from perennial.operators.step import StepOperator, docstring
from perennial.pipelines import default_args, pipelines
from pipeline_tasks.loop import NEEDS

TITLE = "{{ summary.title if summary is defined else 'slot ' ~ task.given.slot }}"
DOC = """
Searches better parameters for **{name}**: each *trial* trains once with what a shared study
proposes, bad ones are pruned early, and *choose* names the best with its reasons.

Nothing is deployed: *choose* logs what to write into `{name}.yaml`, and `{name}__train` does the
rest. What is searched, and how long, is under `tuning:` in that file.
"""

for pipeline in pipelines():
    if pipeline.tuning is None:
        continue
    with DAG(
        dag_id=f"{pipeline.name}__tune",
        dag_display_name=f"{pipeline.name} · tune",
        description=f"Searches better parameters for {pipeline.name}.",
        doc_md=DOC.format(name=pipeline.name),
        schedule=None,
        max_active_runs=1,
        is_paused_upon_creation=pipeline.paused,
        default_args=default_args(pipeline),
        on_failure_callback=FailureNotifier(pipeline),
        params={
            "reason": Param(
                None,
                type=["null", "string"],
                title="Reason",
                description="Why this search: kept with it.",
            )
        },
        tags=["perennial", pipeline.name],
    ):
        chain(
            StepOperator(step="ingest", pipeline=pipeline),
            StepOperator(step="check", pipeline=pipeline, inputs=NEEDS["check"]),
            StepOperator(step="prepare", pipeline=pipeline, inputs=NEEDS["prepare"]),
            StepOperator.partial(
                task_id="trial",
                step="trial",
                doc_md=docstring("trial"),
                pipeline=pipeline,
                inputs={"prepared": "prepare"},
                max_active_tis_per_dagrun=pipeline.tuning.workers,
                map_index_template=TITLE,
            ).expand(given=[{"slot": slot} for slot in range(pipeline.tuning.trials)]),
            StepOperator(step="choose", pipeline=pipeline),
        )
