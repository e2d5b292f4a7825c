"""How a candidate is made and takes over: as a plain schedule does, or proven on later rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipeline_tasks.decisions.pairing import Pair
from pipeline_tasks.decisions.promotion import Judged, promotion
from pipeline_tasks.decisions.refitting import refitting
from pipeline_tasks.replay.models import Model, trained
from pipeline_tasks.replay.policies import Rules
from pipeline_tasks.replay.streams import Stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOWS = (1, 2, 4)
CHOOSING_ROWS, RESAMPLES = 500, 1000


@dataclass(frozen=True)
class Candidate:
    """A model, and the rows that trained it: from `start` to before `rows`.

    grows: with more rows it would begin where it does; otherwise its window moves on.
    """

    model: Model
    start: int
    rows: int
    grows: bool = False


class Trainer(Protocol):
    """Makes candidates and says which may answer; `end` rows have come, with their labels."""

    def train(self, end: int, changed: int) -> Candidate:
        """A new candidate. changed: the row since which the world is as it is."""

    def is_proven(self, candidate: Candidate, champion: Model, end: int) -> bool:
        """Whether the candidate replaces the champion."""

    def served(self, candidate: Candidate, end: int) -> Model:
        """What answers in its place."""


@dataclass(frozen=True)
class Plain:
    """The newest rows train, and the candidate replaces the champion unseen."""

    stream: Stream
    window: int

    def train(self, end: int, changed: int) -> Candidate:
        """On the newest rows."""
        del changed
        start = max(0, end - self.window)
        return Candidate(_on(self.stream, start, end), start, end)

    def is_proven(self, candidate: Candidate, champion: Model, end: int) -> bool:
        """Nobody asks."""
        del candidate, champion, end
        return True

    def served(self, candidate: Candidate, end: int) -> Model:
        """Itself."""
        del end
        return candidate.model


@dataclass(frozen=True)
class Proven:
    """Rows since the change or a longer window train, whichever answers newer rows best.

    Rows that are newer still, and all that come later, must prove the candidate by the promotion
    rules before it answers, or, with `refit`, what has learned these rows as well.
    """

    stream: Stream
    rules: Rules

    def train(self, end: int, changed: int) -> Candidate:
        """One training for each window, and one of the chosen window with the rows that chose."""
        rules = self.rules.retraining
        known = end - changed
        last = end - min(rules.maximum_recent, int(rules.recent_share * known))
        choosing = min(CHOOSING_ROWS, (last - changed) // 3)
        middle = last - choosing
        starts = {max(0, middle - times * self.rules.window) for times in WINDOWS}
        if middle - changed >= rules.minimum_labelled // 2:
            starts.add(changed)
        ordered = sorted(starts)
        found = {
            start: _right(self.stream, _on(self.stream, start, middle), middle, last)
            for start in ordered
        }
        usual = max(0, middle - self.rules.window)
        best = max(ordered, key=lambda start: _lead(found[start], found[usual]))
        grows = best in (0, changed)
        start = best if grows else best + choosing
        return Candidate(_on(self.stream, start, last), start, last, grows)

    def is_proven(self, candidate: Candidate, champion: Model, end: int) -> bool:
        """By the rows that the candidate has not been trained on, all of them."""
        mine = _right(self.stream, candidate.model, candidate.rows, end)
        theirs = _right(self.stream, champion, candidate.rows, end)
        judged = Judged(
            rows=len(mine),
            candidate=float(mine.mean()),
            champion=float(theirs.mean()),
            pair=_pair(mine, theirs),
        )
        rules = self.rules.promotion
        return promotion(rules, {"test": judged, "recent": judged}).is_yes

    def served(self, candidate: Candidate, end: int) -> Model:
        """With `refit` a model of the same rows and of those that judged; see `refitting`."""
        rules, judging = self.rules.retraining, self.stream.inputs[candidate.rows : end]
        if not rules.refit:
            return candidate.model
        start = candidate.start + (0 if candidate.grows else end - candidate.rows)
        again = _on(self.stream, start, end)
        changed = float((again.answer(judging) != candidate.model.answer(judging)).mean())
        is_yes = refitting(rules, changed=changed, rows=len(judging)).is_yes
        return again if is_yes else candidate.model


def _on(stream: Stream, start: int, end: int) -> Model:
    return trained(stream.inputs[start:end], stream.labels[start:end])


def _right(stream: Stream, model: Model, start: int, end: int) -> NDArray[np.bool_]:
    answers: NDArray[np.bool_] = model.answer(stream.inputs[start:end]) == stream.labels[start:end]
    return answers


def _lead(mine: NDArray[np.bool_], usual: NDArray[np.bool_]) -> float:
    """Rows that a window gets right beyond the usual one's, less a standard error of that.

    The rule of one standard error (Breiman and others, 1984) for a choice between many.
    """
    differing = int((mine != usual).sum())
    return int(mine.sum()) - int(usual.sum()) - math.sqrt(differing)


def _pair(mine: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Pair:
    """Resampled rows as counts of the three things that can be true of a row."""
    import numpy as np

    more, less = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    rows = len(mine)
    random = np.random.default_rng(rows)
    shares = [more / rows, less / rows, 1 - (more + less) / rows]
    drawn = random.multinomial(rows, shares, size=RESAMPLES)
    differences = tuple(((drawn[:, 0] - drawn[:, 1]) / rows).tolist())
    return Pair(differences, only_candidate_right=more, only_champion_right=less)
