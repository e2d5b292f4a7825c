"""The section `deployment` of a pipeline file: how a candidate comes to answer."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_tasks.core.values import Frozen

Percent = Annotated[float, Field(gt=0, le=100)]


class Deployment(Frozen):
    """How a candidate comes to answer, and what takes it away again by itself."""

    strategy: Literal["replace", "canary", "shadow"] = Field(
        "replace",
        description="replace: all requests at once; canary: first a growing share of them; "
        "shadow: first all of them in the background, where no client sees the answers.",
    )
    steps: tuple[Percent, ...] = Field(
        (1, 10, 50), min_length=1, description="Shares of the requests in percent, for canary."
    )
    step_minutes: float = Field(
        10, gt=0, description="Longest time of a canary's step, or of the shadow."
    )
    minimum_requests: int = Field(
        100, ge=1, description="Requests that the candidate answers before a step can go on."
    )
    minimum_labelled: int = Field(
        0, ge=0, description="The same for rows whose true labels have arrived."
    )
    on_little_traffic: Literal["promote", "refuse"] = Field(
        "promote",
        description="When a step's time is over with too little seen to prove anything. promote: "
        "go on, as gate and verify said yes, nothing speaks against it and the bake watches on; "
        "refuse: the champion stays, and the next run may try again.",
    )
    confidence: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="How surely a candidate as good as the champion is not taken away, "
        "however often it is looked at.",
    )
    error_margin: float = Field(
        0.02, gt=0, lt=1, description="More failed requests than the champion's share are a fault."
    )
    latency_p99_ms: float = Field(
        250, gt=0, description="Of a request, before traffic (verify) and with it."
    )
    latency_ratio: float = Field(
        3.0, gt=1, description="A 99th percentile this many times the champion's is a fault."
    )
    memory_mb: float = Field(
        2000, gt=0, description="What loading the candidate and asking it may take, for verify."
    )
    quality_margin: float = Field(
        0.05, ge=0, lt=1, description="More wrong answers than the champion's share are a fault."
    )
    disagreement: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of a shadow's answers that may differ from the champion's. Unless "
        "given: any, as a model that was trained for a changed world must differ.",
    )
    bake_minutes: float = Field(
        5, ge=0, description="How long the new champion is watched; the run takes that much longer."
    )

    @model_validator(mode="after")
    def _steps_grow(self) -> Self:
        if any(one >= other for one, other in itertools.pairwise(self.steps)):
            raise ValueError(f"steps: each share must be larger than the one before: {self.steps}")
        return self
