"""What a person asks for on the command line: which stream, which policies, where to keep it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.replay import own, streams
from pipeline_tasks.replay.living import POLICIES, Life, lives
from pipeline_tasks.replay.policies import USUAL, Rules
from pipeline_tasks.replay.streams import Stream

DEFAULT = ("no_change", "never", "nightly", "weekly", "calendar", "random", "triggered")


@dataclass(frozen=True)
class Question:
    """One replay. stream: electricity, sea, hyperplane, a CSV file, or a pipeline's name."""

    stream: str
    policies: tuple[str, ...] = DEFAULT
    seeds: tuple[int, ...] = (1,)
    data: Path | None = None
    label: str | None = None
    block_rows: int | None = None
    window: int | None = None


def answered(question: Question) -> Iterator[Life]:
    """Every policy's life on every seed's stream. Raises ConfigError or DataError."""
    if unknown := [name for name in question.policies if name not in POLICIES]:
        raise ConfigError(
            f"--policies: no policy is called {unknown[0]!r}",
            expected=", ".join(POLICIES),
            fix="name some of these, separated by commas",
        )
    for option, value in (("block-rows", question.block_rows), ("window", question.window)):
        if value is not None and value < 2:
            raise ConfigError(f"--{option} {value}: too few rows", expected="2 at least")
    for stream, rules in _streams(question):
        yield from lives(stream, question.policies, rules)


def _streams(question: Question) -> Iterator[tuple[Stream, Rules]]:
    name, block = question.stream, question.block_rows
    usual = replace(USUAL, window=question.window or USUAL.window)
    if name in streams.GENERATED:
        for seed in question.seeds:
            found = streams.GENERATED[name](seed)
            yield (replace(found, block_rows=block) if block else found), usual
    elif name == "electricity":
        if question.data is None:
            raise ConfigError(
                "electricity: nothing says where the file is",
                expected="the electricity market's CSV file, 45,312 rows with the label `class`",
                fix="name it by --data PATH",
            )
        found = streams.electricity(question.data)
        yield (replace(found, block_rows=block) if block else found), usual
    elif name.endswith(".csv"):
        yield streams.of_csv(Path(name), label=question.label, block_rows=block), usual
    else:
        pipeline = _pipeline(name)
        yield own.stream(pipeline, block), own.rules(pipeline, question.window)


def _pipeline(name: str) -> config.PipelineConfig:
    known = [path.stem for path in config.files()]
    if name not in known:
        raise ConfigError(
            f"no stream is called {name!r}",
            expected=f"electricity, {', '.join(streams.GENERATED)}, a path that ends in .csv, or a "
            f"pipeline: {', '.join(known)}",
        )
    return config.named(name)
