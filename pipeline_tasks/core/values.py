"""Values that cross a file: frozen, typed, JSON on the way through Airflow."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

Scalar = str | int | float | bool | None


class Frozen(BaseModel):
    """A value that never changes and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ref(Frozen):
    """Names one artifact in the store: small enough for XCom, enough to open it."""

    pipeline: str
    run: str
    artifact: str
    digest: str
    reused: bool = False
    summary: dict[str, Scalar] = {}


class Answer(StrEnum):
    """What a decision can say; ask: a person decides."""

    YES = "yes"
    NO = "no"
    NOT_ENOUGH_DATA = "not_enough_data"
    ASK = "ask"


class Verdict(Frozen):
    """A decision with its reasons; the reasons are what a person reads."""

    answer: Answer
    reasons: tuple[str, ...]

    @property
    def is_yes(self) -> bool:
        return self.answer is Answer.YES


class Champion(Frozen):
    """The model in production."""

    version: int
    run: str
    model: Ref
    evaluation: Ref
    prepared: Ref
    exported: Ref
    promoted_at: str


class HistoryEntry(Frozen):
    """One promotion, refusal, incident, retraining decision or rollback: who, when, why.

    seconds: until a rollback had its effect. subject: the monitoring record that was decided on,
    or what names the model that was taken away. causes, numbers: what a retraining was decided on.
    changed_at: when production changed, by estimate, if that is why.
    """

    at: str
    event: str
    run: str
    by: str
    reasons: tuple[str, ...]
    subject: str = ""
    answer: Answer | None = None
    episode: str = ""
    version: int | None = None
    previous_version: int | None = None
    seconds: float | None = None
    causes: tuple[str, ...] = ()
    changed_at: str = ""
    numbers: dict[str, Scalar] = {}


class MonitoringRecord(Frozen):
    """One look at production: is it degraded (the verdict's yes), since when, and why.

    changed_at: when production changed, by estimate; empty where the look has none.
    """

    id: str
    at: str
    version: int | None
    verdict: Verdict
    causes: tuple[str, ...]
    episode: str
    report: Ref
    numbers: dict[str, Scalar]
    prediction_watermark: str
    label_watermark: str
    changed_at: str = ""


class Notice(Frozen):
    """One message to a person: by which notifier, about what, and whether it could be sent."""

    at: str
    notifier: str
    subjects: tuple[str, ...]
    title: str
    text: str
    is_sent: bool
