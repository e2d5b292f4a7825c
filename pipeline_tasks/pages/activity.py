"""What the scheduler knows of one pipeline: handed in, as these pages do without one."""

from __future__ import annotations

from dataclasses import dataclass

RUNNING = ("queued", "running")


@dataclass(frozen=True)
class RunSeen:
    """One run. state: queued, running, success or failed."""

    id: str
    dag: str
    state: str
    started: str | None = None
    ended: str | None = None
    by: str = ""
    reason: str = ""
    seconds: float | None = None

    @property
    def is_going(self) -> bool:
        """It has not ended."""
        return self.state in RUNNING


@dataclass(frozen=True)
class Question:
    """What waits for a person. task: whose verdict it is about."""

    dag: str
    run: str
    task: str
    subject: str
    body: str
    since: str

    @property
    def kind(self) -> str:
        """Of which kind the run is: train or retrain."""
        return self.dag.rpartition("__")[2]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The verdict's reasons: the body's list, without its marks."""
        lines = [line.strip() for line in self.body.splitlines()]
        return tuple(line.removeprefix("- ").replace("**", "") for line in lines if line)


@dataclass(frozen=True)
class Activity:
    """Runs, newest first; what is due; and what this person may do.

    is_known: there is a scheduler, and it knows the pipeline's DAGs.
    """

    is_known: bool = False
    runs: tuple[RunSeen, ...] = ()
    others: tuple[RunSeen, ...] = ()
    next_run: str | None = None
    next_look: str | None = None
    is_paused: bool = False
    questions: tuple[Question, ...] = ()
    may_act: bool = False

    @property
    def last_run(self) -> RunSeen | None:
        """The newest training run."""
        return self.runs[0] if self.runs else None

    @property
    def is_acting(self) -> bool:
        """A run of another kind, such as a rollback, is under way."""
        return any(run.is_going for run in self.others)

    @property
    def is_training(self) -> bool:
        """A training run is under way."""
        return any(run.is_going for run in self.runs)
