"""The section `observation`: what is kept of production, and where its labels come from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline_tasks.core.values import Frozen
from pipeline_tasks.sections.settings import Part, part_of


class LabelSource(Frozen):
    """A file or table in which true labels arrive; collecting takes what is new in it."""

    source: Annotated[Part, part_of("sources")] = Field(
        description="Like the pipeline's own; of SQL with a `watermark`, only what follows is read."
    )
    id: str = Field("id", description="The column with the prediction's id.")
    label: str | None = Field(
        None, description="The column with the truth; unless given, as the label is called."
    )
    time: str | None = Field(
        None, description="The column with when it became true: ISO 8601, UTC unless it says."
    )


class Observation(Frozen):
    """What servers log of this pipeline's requests, and where labels come from beside REST."""

    share: float = Field(
        1.0, ge=0, le=1, description="Share of the requests that are logged, by prediction id."
    )
    leave_out: tuple[str, ...] = Field((), description="Columns that are not logged anywhere.")
    labels: LabelSource | None = None

    def misfits(self, inputs: frozenset[str], trained_on: int) -> str:
        """What is wrong, or nothing. trained_on: observations that training uses, at most."""
        if unknown := sorted({*self.leave_out} - inputs):
            return f"observation.leave_out: {unknown[0]!r} must be an input among the columns"
        if self.leave_out and trained_on:
            return (
                f"observation.leave_out: without {', '.join(self.leave_out)} labelled observations "
                "cannot be trained on; say `retraining: {maximum_observations: 0}` to train on "
                "the source alone, or log these columns"
            )
        return ""
