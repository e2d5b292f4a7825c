"""Verify: before any traffic, the server's own code loads the candidate and answers questions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline_tasks.core.errors import DeploymentError
from pipeline_tasks.core.values import Ref
from pipeline_tasks.decisions.acceptance import Measured, acceptance
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.release import golden
from pipeline_tasks.run import Run, step
from pipeline_tasks.sections import variants

Ask = Callable[[bytes], tuple[int, bytes]]

REQUESTS = 100
SECONDS = 10.0


@step(reads=("deployment",), reusable=False)
def verify(run: Run, exported: Ref) -> Ref:
    """Load the exported model as the server does, ask it golden questions, and time single rows.

    Yes: it answers as the trained model did within 1e-5, with finite numbers, and keeps to the
    limits of `deployment`. A no is no error; it is added to the pipeline's history.
    Writes the artifact `verified`: verified.json.
    """
    folder = run.open(exported)
    if variants.served(folder) not in variants.LITERT:
        load_tensorflow()  # before its memory is taken for the model's
    measured = _measure(folder, run.config.name)
    verdict = acceptance(run.config.deployment, measured)
    with run.write("verified") as draft:
        content = {"measured": asdict(measured), "verdict": verdict.model_dump(mode="json")}
        (draft.folder / "verified.json").write_text(json.dumps(content, indent=1))
        draft.summary |= {
            "answer": verdict.answer.value,
            "reasons": "; ".join(verdict.reasons),
            "questions": measured.questions,
            "largest_difference": measured.largest_difference,
            "latency_p99_ms": measured.latency_p99_ms,
            "memory_mb": measured.memory_mb,
        }
    if not verdict.is_yes:
        run.record_refusal(verdict)
    return draft.done()


def _measure(folder: Path, name: str) -> Measured:
    from pipeline_tasks.serving.inprocess import loaded

    instances, expected = golden.questions(folder)
    before = _resident_mb()
    try:
        with loaded(folder, name) as ask:
            status, answer = ask(_body(instances))
            if status != 200:
                text = answer.decode(errors="replace")[:500].replace(";", ",")
                refusal = f"the server answers golden questions with status {status}: {text}"
                return Measured(len(instances), refusal)
            times = sorted(_times(ask, instances))
    except Exception as error:  # whatever it is, it is what a server would meet
        problem = f"the server cannot load it: {type(error).__name__}: {error}".replace(";", ",")
        return Measured(len(instances), problem)
    found = json.loads(answer)["predictions"]
    difference, problem = _compared(expected, found)
    return Measured(
        questions=len(instances),
        problem=problem,
        nonfinite=sum(not _is_finite(one) for one in found),
        largest_difference=difference,
        latency_p99_ms=round(1000 * times[math.ceil(0.99 * len(times)) - 1], 3),
        memory_mb=round(max(0.0, _resident_mb() - before), 1),
    )


def _compared(expected: list[Any], found: list[Any]) -> tuple[float, str]:
    try:
        return golden.compare(expected, found, who="the server"), ""
    except DeploymentError as error:
        return math.inf, f"{error.what}, expected {error.expected}"


def _times(ask: Ask, instances: list[Any]) -> Iterator[float]:
    """Seconds of requests of one row, a hundred of them unless they take too long."""
    deadline = time.monotonic() + SECONDS
    for number in range(REQUESTS):
        began = time.perf_counter()
        ask(_body([instances[number % len(instances)]]))
        yield time.perf_counter() - began
        if time.monotonic() > deadline:
            return


def _body(instances: list[Any]) -> bytes:
    return json.dumps({"instances": instances}).encode()


def _is_finite(answer: Any) -> bool:
    numbers = answer["probabilities"] if isinstance(answer, dict) else [answer]
    return all(math.isfinite(number) for number in numbers)


def _resident_mb() -> float:
    """This process's memory; NaN where the system does not say."""
    path = Path("/proc/self/statm")
    if not path.is_file():
        return math.nan
    import resource

    return int(path.read_text().split()[1]) * resource.getpagesize() / 2**20
