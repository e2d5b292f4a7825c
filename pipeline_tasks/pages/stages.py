"""The loop as a picture: each stage with its state and one line about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline_tasks.core.store import RETRAINING
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref
from pipeline_tasks.pages.activity import Activity
from pipeline_tasks.pages.reading import Look

STEPS = {
    "data": ("ingest", "check", "prepare"),
    "training": ("train", "evaluate", "refit"),
    "gate": ("gate",),
    "release": ("export", "verify", "publish", "deploy", "bake"),
}
TRIALS = ("canary", "shadow")
MOST_NUMBERS = 6
Tasks = Mapping[str, str]
WORDS = {
    "good": "done",
    "bad": "failed",
    "working": "under way",
    "waiting": "waits for a person",
    "skipped": "skipped",
    "none": "not yet",
}


@dataclass(frozen=True)
class Stage:
    """state: good, bad, working, waiting (for a person), skipped or none."""

    name: str
    state: str
    text: str


def stages(
    champion: Champion | None,
    history: Sequence[HistoryEntry],
    looks: Sequence[Look],
    activity: Activity,
    tasks: Tasks,
) -> list[Stage]:
    """From data to the decision to train again. tasks: the newest run's states, by id."""
    return [
        *_of_training(champion, activity, tasks),
        _production(champion, looks),
        _monitoring(looks),
        _retraining(history),
    ]


def _of_training(champion: Champion | None, activity: Activity, tasks: Tasks) -> Iterator[Stage]:
    texts = _texts(champion)
    for name, steps in STEPS.items():
        found = [tasks[step] for step in steps if step in tasks]
        # Trials of a release have names of their own.
        if name == "release":
            found += [state for task, state in tasks.items() if task.startswith(TRIALS)]
        state = _state(found, is_asked=name == "gate" and bool(activity.questions))
        if not found and champion is not None:
            state = "good"
        known = texts.get(name) if state not in ("bad", "working", "waiting") else None
        yield Stage(name, state, known or WORDS[state])


def _texts(champion: Champion | None) -> dict[str, str]:
    if champion is None:
        return {}
    rows, model = champion.prepared.summary, champion.model.summary
    return {
        "data": f"{rows.get('train', '?')} training rows",
        "training": f"{model.get('epochs', '?')} epochs",
        "gate": f"promoted version {champion.version}",
        "release": f"version {champion.version} answers",
    }


def _state(found: Sequence[str], *, is_asked: bool) -> str:
    if is_asked:
        return "waiting"
    if any(state in ("failed", "upstream_failed") for state in found):
        return "bad"
    if any(state in ("running", "queued", "deferred", "scheduled") for state in found):
        return "working"
    if found and all(state == "success" for state in found):
        return "good"
    if any(state == "skipped" for state in found):
        return "skipped"
    return "none"


def _production(champion: Champion | None, looks: Sequence[Look]) -> Stage:
    if champion is None:
        return Stage("production", "none", "nothing served yet")
    last = looks[-1] if looks else None
    if last is not None and last.is_answering is False:
        return Stage("production", "bad", "the server does not answer")
    requests = f"{last.predictions:,} predictions in the last look" if last else "no look yet"
    return Stage("production", "good", requests)


def _monitoring(looks: Sequence[Look]) -> Stage:
    if not looks:
        return Stage("monitoring", "none", "no look yet")
    states = {"yes": "bad", "no": "good"}
    words = {"yes": "alarm on " + " and ".join(looks[-1].causes), "no": "healthy"}
    answer = looks[-1].answer
    return Stage("monitoring", states.get(answer, "none"), words.get(answer, "not enough data"))


def _retraining(history: Sequence[HistoryEntry]) -> Stage:
    made = [entry for entry in history if entry.event == RETRAINING]
    if not made:
        return Stage("retraining", "none", "no alarm has called for it")
    answer = made[-1].answer
    words = {"yes": "decided to train again", "no": "decided against it", "ask": "asked a person"}
    text = words.get(answer.value if answer else "", "not enough data to decide")
    return Stage("retraining", "good" if answer and answer.value == "yes" else "skipped", text)


def summary_of(ref: Ref) -> str:
    """An artifact's numbers in one line."""
    items = [
        f"{key.replace('_', ' ')} {f'{value:.4g}' if isinstance(value, float) else value}"
        for key, value in ref.summary.items()
        if key not in ("reasons", "answer") and value not in (None, "")
    ]
    return ", ".join(items[:MOST_NUMBERS])
