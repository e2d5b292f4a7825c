"""<name>__train: ingest > check > prepare > train > evaluate > gate > export > verify > release."""

from datetime import timedelta
from functools import partial

from airflow.sdk import DAG, CronTriggerTimetable, chain

from perennial.failure import FailureNotifier
from perennial.operators.end import EndOperator
from perennial.operators.gate import GateOperator
from perennial.operators.step import DecisionOperator, StepOperator
from perennial.operators.watch import WatchOperator
from perennial.pipelines import asset, default_args, pipelines, training_form
from pipeline_tasks.loop import NEEDS, needs, trial

DOC = """
### {description}

The training loop of **{name}**, every night and on demand. It re-enters at *ingest*, so that what
production has taught since is learned.

*ingest* and *check* bring rows that keep to the schema, *prepare* splits them and learns the
encoding, *train* fits the network and can be killed at any time, *evaluate* compares candidate and
champion on unseen rows, *gate* decides (a refusal is green, with its reasons in the task's log;
**Approval** in the form lets a person overrule it), {refit}*export* makes a SavedModel, *verify*
asks it golden questions and times it.

*publish* loads it beside the champion, which goes on answering. {trial} *deploy* lets it answer
everything, *bake* watches it for a while. Whatever speaks against it on the way, *withdraw* puts
the last good version back by itself, and the model into quarantine; its log says why.

**Trigger** it with other parameters by the button above; the file is `{name}.yaml`. A step whose
code, settings and inputs have not changed reuses what it made before; tick **Force** to do it all
again. If production degrades, `{name}__retrain` triggers this DAG by itself.
"""
TRIAL = {
    "replace": "",
    "canary": "Each *canary* gives it a larger share of the requests, and watches.",
    "shadow": "*shadow* lets it answer where no client sees it, and compares.",
}
REFIT = "*refit* learns the rows that judged, too, "

for pipeline in pipelines():
    with DAG(
        dag_id=f"{pipeline.name}__train",
        dag_display_name=f"{pipeline.name} · train",
        description=pipeline.description,
        doc_md=DOC.format(
            name=pipeline.name,
            description=pipeline.description,
            trial=TRIAL[pipeline.deployment.strategy],
            refit=REFIT if pipeline.retraining.refit else "",
        ),
        schedule=pipeline.schedule
        and CronTriggerTimetable(pipeline.schedule, timezone="UTC", run_immediately=timedelta(0)),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=pipeline.paused,
        default_args=default_args(pipeline),
        on_failure_callback=FailureNotifier(pipeline),
        params=training_form(pipeline),
        tags=["perennial", pipeline.name],
    ):
        data, model, deployment = (
            asset(pipeline, kind) for kind in ("data", "model", "deployment")
        )
        step = partial(StepOperator, pipeline=pipeline)
        watch = partial(WatchOperator, pipeline=pipeline)

        publish = step(step="publish", inputs=NEEDS["publish"])
        trials = [
            watch(task_id=one.id, step=one.step, given=one.given, inputs=NEEDS[one.step])
            for one in trial(pipeline)
        ]
        deploy = step(step="deploy", inputs=NEEDS["deploy"], inlets=[model], outlets=[deployment])
        bake = watch(step="bake", inputs=NEEDS["bake"])
        chain(
            step(step="ingest"),
            step(step="check", inputs=NEEDS["check"]),
            step(step="prepare", inputs=NEEDS["prepare"], outlets=[data]),
            step(step="train", inputs=NEEDS["train"], inlets=[data], outlets=[model]),
            step(step="evaluate", inputs=NEEDS["evaluate"]),
            GateOperator(pipeline=pipeline, inputs=NEEDS["gate"]),
            *([step(step="refit", inputs=NEEDS["refit"])] if pipeline.retraining.refit else []),
            step(step="export", inputs=needs(pipeline, "export")),
            DecisionOperator(step="verify", pipeline=pipeline, inputs=NEEDS["verify"]),
            publish,
            *trials,
            deploy,
            bake,
        )
        # Beside the chain: what takes the candidate away again. A watch that says no leads here,
        # and so does a task of the release that fails for good; bake skips it when all is well.
        withdraw = step(
            step="withdraw",
            inputs=NEEDS["withdraw"] | {"watched": [one.task_id for one in [*trials, bake]]},
            outlets=[deployment],
        )
        [publish, *trials, deploy, bake] >> withdraw
        withdraw.as_teardown(setups=publish)
        [bake, withdraw] >> EndOperator(
            doc_md="Red when a task of the run failed, or when somebody ended it; otherwise green."
        )
