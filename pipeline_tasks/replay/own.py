"""A pipeline's own source as a stream, under the rules of its own file."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.data import rows
from pipeline_tasks.replay.policies import USUAL, Rules
from pipeline_tasks.replay.streams import Stream, of_rows


def stream(config: PipelineConfig, block_rows: int | None) -> Stream:
    """The source's rows in its order, or by the column of `split: {by: time}`.

    Raises ConfigError when the label is a number, DataError when the rows are too few.
    """
    import numpy as np

    if config.task == "regression":
        raise ConfigError(
            f"{config.name}: the label {config.label.name!r} is a number",
            expected="a label with classes: a replay counts right answers",
        )
    there, source = rows.at_source(config), config.source
    part = registry.part("sources", source.kind)
    params = registry.params("sources", source.kind, source.settings())
    with tempfile.TemporaryDirectory() as name:
        part.fetch(params, Path(name))
        frame = rows.renamed(part.read(params, Path(name), there), config)
    if config.split.by == "time" and config.split.column:
        frame = frame.sort_values(config.split.column, kind="stable")
    index = {value: place for place, value in enumerate(config.label.classes)}
    labels = frame[config.label.name].map(index).fillna(-1).to_numpy(dtype=np.int64)
    inputs = frame[rows.frame_columns(rows.inputs(config))]
    return of_rows(config.name, inputs, labels, block_rows)


def rules(config: PipelineConfig, window: int | None) -> Rules:
    """What the pipeline file says of retraining and promotion; the metric is accuracy here."""
    promotion = config.promotion.model_copy(update={"metric": "accuracy", "thresholds": {}})
    found = Rules(config.retraining, promotion)
    return replace(found, window=window or USUAL.window)
