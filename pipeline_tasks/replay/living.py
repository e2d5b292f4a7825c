"""One policy lives through one stream: a block is answered, then its labels are learned."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_tasks.replay import policies
from pipeline_tasks.replay.models import trained
from pipeline_tasks.replay.policies import Calendar, Policy, Rules, Triggered
from pipeline_tasks.replay.streams import Stream
from pipeline_tasks.replay.training import Candidate, Plain, Proven, Trainer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
NO_CHANGE = "no_change"
# What each policy does; README and table have them in this order.
POLICIES = {
    NO_CHANGE: "answers with the last label, without a model",
    "never": "the first model answers for ever",
    "nightly": "a training after every block, which replaces the model unseen",
    "weekly": "the same after every seventh block",
    "calendar": "the same at equal intervals, as often as triggered trains",
    "random": "the same at random, as often as triggered trains",
    "calendar_proven": "as calendar, but candidates are made and proven as triggered has them",
    "triggered": "production's decisions: an alarm, follow-ups, age and budget; proven candidates",
}
EQUAL_BUDGET = ("calendar", "random", "calendar_proven")


@dataclass(frozen=True)
class Event:
    """A training: after which row, why, and after which row its model answered; None: never."""

    row: int
    reason: str
    promoted: int | None


@dataclass(frozen=True)
class Life:
    """What a policy did on a stream. right: (rows after the first model's,), in their order."""

    policy: str
    stream: Stream
    right: NDArray[np.bool_]
    events: tuple[Event, ...]
    cpu_seconds: float

    @property
    def accuracy(self) -> float:
        """The share of right answers, each given before its label was known."""
        return float(self.right.mean())


def lives(stream: Stream, chosen: tuple[str, ...], rules: Rules) -> Iterator[Life]:
    """Each policy's life; one that needs triggered's number of trainings comes after it."""
    # So that what is imported at the first training is in nobody's seconds.
    trained(stream.inputs[: stream.first_rows], stream.labels[: stream.first_rows])
    trainings = 0
    if {"triggered", *EQUAL_BUDGET} & set(chosen):
        triggered = live(stream, "triggered", rules, 0)
        trainings = len(triggered.events)
    for name in POLICIES:
        if name in chosen:
            yield triggered if name == "triggered" else live(stream, name, rules, trainings)


def live(stream: Stream, name: str, rules: Rules, trainings: int) -> Life:
    """One policy's life. trainings: those of a policy with an equal budget."""
    began = time.process_time()
    if name == NO_CHANGE:
        right = stream.labels[stream.first_rows :] == stream.labels[stream.first_rows - 1 : -1]
        return Life(name, stream, right, (), time.process_time() - began)
    is_proven = name in ("calendar_proven", "triggered")
    trainer: Trainer = Proven(stream, rules) if is_proven else Plain(stream, rules.window)
    policy = _policy(stream, name, rules, trainings)
    right, events = _lived(stream, policy, trainer, name)
    return Life(name, stream, right, events, time.process_time() - began)


def _policy(stream: Stream, name: str, rules: Rules, trainings: int) -> Policy:
    # After the last block there is nothing left to train for.
    blocks = len(stream.starts) - 1
    if name == "triggered":
        return Triggered(rules.retraining, stream.block_rows)
    if name in ("calendar", "calendar_proven"):
        return policies.spread(trainings, blocks)
    if name == "random":
        return policies.by_chance(trainings, blocks, stream.seed or 0)
    days = {"nightly": 1, "weekly": policies.WEEK}.get(name)
    return policies.every(days, blocks) if days else Calendar(())


def _lived(
    stream: Stream, policy: Policy, trainer: Trainer, name: str
) -> tuple[NDArray[np.bool_], tuple[Event, ...]]:
    import numpy as np

    right = np.zeros(len(stream.labels), dtype=bool)
    first = stream.first_rows
    champion = trained(stream.inputs[:first], stream.labels[:first])
    waiting: Candidate | None = None
    events: list[Event] = []
    for block, start in enumerate(stream.starts, 1):
        end = min(start + stream.block_rows, len(right))
        right[start:end] = champion.answer(stream.inputs[start:end]) == stream.labels[start:end]
        _tell(stream, name, block)
        if end == len(right):
            break
        if reason := policy.reason(block, float(1 - right[start:end].mean())):
            waiting = trainer.train(end, _changed(stream, policy))
            events.append(Event(end, reason, None))
        if waiting and trainer.is_proven(waiting, champion, end):
            champion, waiting = trainer.served(waiting, end), None
            events[-1] = Event(events[-1].row, events[-1].reason, end)
            policy.has_trained(block, is_promoted=True)
    return right[first:], tuple(events)


def _changed(stream: Stream, policy: Policy) -> int:
    """The row since which the world is as it is; 0 where nobody looks, or nothing was seen."""
    changed = policy.changed if isinstance(policy, Triggered) else None
    return stream.first_rows + changed * stream.block_rows if changed is not None else 0


def _tell(stream: Stream, name: str, block: int) -> None:
    of = len(stream.starts)
    if block % max(1, of // 4) == 0 or block == of:
        seed = "" if stream.seed is None else f", seed {stream.seed}"
        text = "%s%s, %s: %d of %d blocks"
        log.info(text, stream.name, seed, name, block, of, extra={"done": block, "of": of})
