"""How a pipeline is, in one word and one sentence, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_tasks.core.values import Champion
from pipeline_tasks.pages.activity import Activity
from pipeline_tasks.pages.reading import Look

# In the order in which they want attention.
QUESTION, DEGRADED, FAILED, UNTRAINED, UNSURE, HEALTHY = (
    "question",
    "degraded",
    "failed",
    "untrained",
    "unsure",
    "healthy",
)
ORDER = (QUESTION, DEGRADED, FAILED, UNTRAINED, UNSURE, HEALTHY)
WORDS = {
    QUESTION: "Waits for you",
    DEGRADED: "Degraded",
    FAILED: "Run failed",
    UNTRAINED: "Nothing trained yet",
    UNSURE: "Too early to say",
    HEALTHY: "Healthy",
}


@dataclass(frozen=True)
class Health:
    """state: one of ORDER. what: one sentence. next: what a person, or the loop, does now."""

    state: str
    what: str
    next: str
    reasons: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The state for a person."""
        return WORDS[self.state]

    @property
    def urgency(self) -> int:
        """Small is urgent."""
        return ORDER.index(self.state)


def health(champion: Champion | None, looks: Sequence[Look], activity: Activity) -> Health:
    """What wants attention first: a question, an alarm, a failed run, or nothing."""
    if activity.questions:
        asked = activity.questions[0]
        return Health(QUESTION, asked.subject, "Read the verdict, then approve or refuse.")
    look = looks[-1] if looks else None
    if look and look.answer == "yes" and (champion is None or look.version == champion.version):
        causes = " and ".join(look.causes) or "production"
        return Health(DEGRADED, f"An alarm on {causes}.", _mending(activity), look.reasons)
    last = activity.last_run
    if last and last.state == "failed":
        what = "The last training run failed."
        return Health(FAILED, what, "Its failed step says what to mend.")
    if champion is None:
        return _untrained(activity)
    if look is None or look.answer != "no" or look.version != champion.version:
        return _unsure(champion, look)
    return Health(HEALTHY, "Production keeps to its limits.", "Nothing to do.", look.reasons)


def _mending(activity: Activity) -> str:
    if activity.is_training:
        return "A training run is under way: follow it below."
    return "The loop decides by itself whether training can mend it; you can train or roll back."


def _untrained(activity: Activity) -> Health:
    if activity.is_training:
        return Health(UNTRAINED, "The first model is being trained.", "Follow the run below.")
    what = "No version has been promoted yet, so nothing is served."
    if not activity.may_act:
        return Health(UNTRAINED, what, "Someone whose role lets them act can train a first model.")
    return Health(UNTRAINED, what, "Train a first model: choose “Train now”.")


def _unsure(champion: Champion, look: Look | None) -> Health:
    if look is None or look.version is None:
        what = f"Version {champion.version} is served; nobody has looked at production yet."
        return Health(UNSURE, what, "Wait for the next look, or trigger the monitor DAG.")
    if look.version != champion.version:
        what = f"Version {champion.version} is new: the last look was at version {look.version}."
        return Health(UNSURE, what, "Wait for the next look.", look.reasons)
    return Health(
        UNSURE,
        "Not enough predictions or labels for a verdict.",
        "Send traffic and true labels; the window grows until there are enough.",
        look.reasons,
    )
