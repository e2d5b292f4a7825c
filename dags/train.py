"""<name>__train: ingest > check > prepare > train > evaluate > gate > export > verify > deploy."""

from datetime import timedelta
from functools import partial

from airflow.sdk import DAG, CronTriggerTimetable, chain

from perennial.operators.gate import GateOperator
from perennial.operators.step import StepOperator
from perennial.pipelines import asset, default_args, pipelines, training_form
from pipeline_tasks.loop import NEEDS

DOC = """
### {description}

The training loop of **{name}**, every night and on demand. It re-enters at *ingest*, so that what
production has taught since is learned.

*ingest* and *check* bring rows that keep to the schema, *prepare* splits them and learns the
encoding, *train* fits the network and can be killed at any time, *evaluate* compares candidate and
champion on unseen rows, *gate* decides (a refusal is green, with its reasons in the task's log;
**Approval** in the form lets a person overrule it), *export* makes a SavedModel, *verify* asks it
golden questions, *deploy* swaps it in.

**Trigger** it with other parameters by the button above; the file is `{name}.yaml`. A step whose
code, settings and inputs have not changed reuses what it made before; tick **Force** to do it all
again. If production degrades, `{name}__retrain` triggers this DAG by itself.
"""

for pipeline in pipelines():
    with DAG(
        dag_id=f"{pipeline.name}__train",
        dag_display_name=f"{pipeline.name} · train",
        description=pipeline.description,
        doc_md=DOC.format(name=pipeline.name, description=pipeline.description),
        schedule=pipeline.schedule
        and CronTriggerTimetable(pipeline.schedule, timezone="UTC", run_immediately=timedelta(0)),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=pipeline.paused,
        default_args=default_args(pipeline),
        params=training_form(pipeline),
        tags=["perennial", pipeline.name],
    ):
        data, model, deployment = (
            asset(pipeline, kind) for kind in ("data", "model", "deployment")
        )
        step = partial(StepOperator, pipeline=pipeline)
        chain(
            step(step="ingest"),
            step(step="check", inputs=NEEDS["check"]),
            step(step="prepare", inputs=NEEDS["prepare"], outlets=[data]),
            step(step="train", inputs=NEEDS["train"], inlets=[data], outlets=[model]),
            step(step="evaluate", inputs=NEEDS["evaluate"]),
            GateOperator(pipeline=pipeline, inputs=NEEDS["gate"]),
            step(step="export", inputs=NEEDS["export"]),
            step(step="verify", inputs=NEEDS["verify"]),
            step(step="deploy", inputs=NEEDS["deploy"], inlets=[model], outlets=[deployment]),
        )
