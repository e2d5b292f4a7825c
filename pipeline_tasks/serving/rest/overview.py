"""What is in force for one model, for people and the UI; TensorFlow Serving has no such page."""

from __future__ import annotations

from pydantic import JsonValue

from pipeline_tasks.serving.versions.watched import Versions


def of(versions: Versions, model: str) -> dict[str, JsonValue]:
    """The desired state, who answers, and what is wrong. Raises a Failure with status 404."""
    table = versions.table(model)
    return {
        "model": model,
        "default": table.default,
        "loaded": [*sorted(table.slots)],
        "labels": dict(table.labels),
        "trial": table.trial.model_dump(mode="json") if table.trial else None,
        "desired": table.desired.model_dump(mode="json"),
        "desired_error": table.problem,
        "versions": {
            str(number): {"state": one.state, "error": one.error}
            for number, one in sorted(versions.states_of(model).items())
        },
    }
