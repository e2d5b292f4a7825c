"""The same loop without Airflow: python -m pipeline_tasks run | tune | replay, check, list."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from pipeline_tasks import config, loop, terminal
from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ConfigError, PipelineError
from pipeline_tasks.data import inferring
from pipeline_tasks.run import Run, default_store


def main() -> int:
    """Run one command; 0 when it did what it was asked to."""
    arguments = _arguments()
    try:
        status: int = arguments.command(arguments)
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline_tasks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="run the training loop of one pipeline, step by step")
    run.add_argument("pipeline")
    run.add_argument("--until", choices=loop.STEPS, default=loop.STEPS[-1], help="the last step")
    run.add_argument("--force", action="store_true", help="train again even if nothing has changed")
    run.set_defaults(command=_run)
    tune = commands.add_parser("tune", help="search better parameters for one pipeline")
    tune.add_argument("pipeline")
    tune.set_defaults(command=_tune)
    _add_replay(commands)
    check = commands.add_parser("check", help="read every pipeline file and report every mistake")
    check.set_defaults(command=_check)
    reference = commands.add_parser("reference", help="everything a file may say, as Markdown")
    reference.set_defaults(command=_reference)
    listing = commands.add_parser("list", help="every pipeline, with its champion")
    listing.set_defaults(command=_list)
    report = commands.add_parser("report", help="write a pipeline's page as one file, and as JSON")
    report.add_argument("pipeline")
    report.add_argument("--to", type=Path, default=Path(), help="the folder; here unless given")
    report.set_defaults(command=_report)
    schema = commands.add_parser("schema", help="what a pipeline file says of its columns")
    questions = schema.add_subparsers(required=True)
    infer = questions.add_parser("infer", help="propose `columns:` from the source's data")
    infer.add_argument("pipeline")
    infer.set_defaults(command=_infer_schema)
    return parser.parse_args()


def _add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "live through a stream of labelled rows under several retraining policies"
    replay = commands.add_parser("replay", help=text, description=text)
    replay.add_argument("stream", help="electricity, sea, hyperplane, a .csv file, or a pipeline")
    replay.add_argument("--policies", help="such as never,nightly,weekly,calendar,triggered")
    replay.add_argument("--seeds", default="1", help="of generated streams, such as 1,2,3")
    replay.add_argument("--out", type=Path, help="a folder for the figures in JSON and the chart")
    replay.add_argument("--json", action="store_true", help="print JSON instead of a table")
    replay.add_argument("--data", type=Path, help="the CSV file of electricity")
    replay.add_argument("--label", help="the label's column in a .csv file; the last one if none")
    replay.add_argument("--block-rows", type=int, help="rows that are answered before their labels")
    replay.add_argument("--window", type=int, help="newest rows that a calendar trains on")
    replay.set_defaults(command=_replay)


def _run(arguments: argparse.Namespace) -> int:
    pipeline = config.named(arguments.pipeline)
    moment = clock.text(clock.now())
    run = Run(config=pipeline, id=f"cli__{moment}", by="command line", force=arguments.force)
    with terminal.shown():
        for _ in loop.run_steps(run, until=arguments.until):
            pass
    return 0


def _tune(arguments: argparse.Namespace) -> int:
    run = Run(
        config=config.named(arguments.pipeline),
        id=f"cli__tune__{clock.text(clock.now())}",
        by="command line",
    )
    with terminal.shown():
        for _ in loop.tune(run):
            pass
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from pipeline_tasks.replay import asking, report, streams

    names = arguments.policies
    question = asking.Question(
        stream=arguments.stream,
        policies=tuple(names.split(",")) if names else asking.DEFAULT,
        seeds=streams.check_seeds(arguments.seeds),
        data=arguments.data,
        label=arguments.label,
        block_rows=arguments.block_rows,
        window=arguments.window,
    )
    with nullcontext() if arguments.json else terminal.shown():
        lives = list(asking.answered(question))
    result = report.write(lives, arguments.out) if arguments.out else report.as_json(lives)
    if arguments.json:
        print(json.dumps(result))
        return 0
    Console().print(report.table(result))
    if arguments.out:
        print(f"{arguments.out}: {result['stream']}.json, {result['stream']}.png")
    return 0


def _check(_: argparse.Namespace) -> int:
    status = 0
    for path in config.files():
        try:
            print(f"{config.load(path).name}: good")
        except ConfigError as error:
            print(error, file=sys.stderr)
            status = 1
    return status


def _reference(_: argparse.Namespace) -> int:
    from pipeline_tasks.reference import text

    print(text(), end="")
    return 0


def _list(_: argparse.Namespace) -> int:
    for path in config.files():
        try:
            pipeline = config.load(path)
        except ConfigError:
            print(f"{path.stem}: broken; see `python -m pipeline_tasks check`")
            continue
        champion = Run(config=pipeline, id="list").store.champion(pipeline.name)
        served = f"version {champion.version}, {champion.promoted_at}" if champion else "none yet"
        print(f"{pipeline.name}: {pipeline.description} Champion: {served}.")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from pipeline_tasks.pages import report

    for path in report.write(default_store(), config.named(arguments.pipeline), arguments.to):
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def _infer_schema(arguments: argparse.Namespace) -> int:
    print(inferring.columns_text(config.named(arguments.pipeline)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
