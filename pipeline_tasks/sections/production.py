"""What production must keep to, what mends it, and how often people are told: three sections."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.sections.settings import Part, part_of


class Monitoring(Frozen):
    """What production must keep to, and how often it is looked at."""

    schedule: str = "*/15 * * * *"
    detector: Annotated[Part, part_of("detectors")] = Part(kind="block_bootstrap")
    minimum_rows: int = Field(100, ge=1, description="Rows below which there is no verdict.")
    quality_drop: float = Field(
        0.05,
        gt=0,
        description="How much worse the promotion metric is that alarms; of rmse and mae, which "
        "have the label's unit, a share of the promoted value.",
    )
    matures_after_minutes: float = Field(
        0,
        ge=0,
        description="Age at which predictions are judged, an hour of them at a time, with the "
        "labels they have by then, as labels that come early are not like the others; "
        "0: each label is judged when it arrives.",
    )
    minimum_completeness: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of such an hour's predictions that must have a label by then for them "
        "to be judged; needs `matures_after_minutes`.",
    )
    latency_p99_ms: float = Field(250, gt=0)
    memory_mb: float = Field(4000, gt=0)

    @model_validator(mode="after")
    def _has_an_age_to_be_complete_at(self) -> Self:
        if self.minimum_completeness and not self.matures_after_minutes:
            raise ValueError(
                "minimum_completeness needs matures_after_minutes: the age at which so many of "
                "the labels are expected to be there"
            )
        return self


class Budget(Frozen):
    """What retraining may cost: so many in so many days."""

    retrainings: int = Field(10, ge=1, description="Retrainings at most ...")
    days: float = Field(7, gt=0, description="... in any stretch of so many days.")


class Retraining(Frozen):
    """When production is worth a training run, and what that learns from."""

    cooldown_minutes: float = Field(60, ge=0, description="Least time between two retrainings.")
    budget: Budget = Budget()
    ask_after: int = Field(
        2,
        ge=0,
        description="Retrainings in a row without a proven gain after which a person is asked "
        "before the next; 0: never.",
    )
    minimum_labelled: int = Field(200, ge=1, description="Labelled observations it takes.")
    maximum_age_days: float | None = Field(
        None, gt=0, description="Time without a training that is one's reason, however healthy."
    )
    new_rows: int | None = Field(
        None, ge=1, description="Labelled observations since the last training that are a reason."
    )
    follow_ups: int = Field(
        4,
        ge=0,
        le=10,
        description="Further retrainings after a change, as its rows grow: once as many again as "
        "the first one had, then 2, 4, 8 ... times as many.",
    )
    follow_up_rows: int = Field(
        0,
        ge=0,
        description="Rows that the first one counts as at least in this: where the world turns "
        "slowly, a training soon after another brings nothing.",
    )
    replay_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of the observations from before a detected change that are still "
        "trained on: what was true then may return.",
    )
    replay_source: bool = Field(
        True, description="Whether the source's rows are trained on after a change, too."
    )
    recent_share: float = Field(
        0.4, gt=0, lt=1, description="Latest labelled observations, kept to judge the candidate."
    )
    maximum_recent: int = Field(500, ge=1, description="Rows of that window, at most.")
    refit: bool = Field(
        False,
        description="Whether a candidate that has been proven learns the rows that judged it, too, "
        "before it answers. The next one is then judged by rows that came later.",
    )
    refit_change: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of these rows that it may answer otherwise than before; of a number, "
        "the root mean squared change as a share of its error. Beyond that it is not refit.",
    )
    maximum_observations: int = Field(
        100_000, ge=0, description="Newest ones trained on, at most; 0: the source alone is."
    )


class Notifying(Frozen):
    """How often a person is told of the same thing."""

    cooldown_minutes: float = Field(
        720,
        ge=0,
        description="Least time between two messages about the same episode and cause.",
    )
