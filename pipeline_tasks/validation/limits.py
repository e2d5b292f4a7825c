"""Where an evaluation says too little, or nothing good: the known limits of a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry

SHOWN = 5


def known(config: PipelineConfig, evaluation: Mapping[str, Any]) -> list[str]:
    """Sentences, the most general first. evaluation: the content of evaluation.json."""
    test = evaluation["splits"]["test"]
    return [
        "it was judged on rows of its own source; rows of another kind are answered all the same",
        *_small(config, test),
        *_weak(config, test),
        *_fit(evaluation["diagnosis"]),
        *_drift(config, evaluation["importance"]),
    ]


def _small(config: PipelineConfig, test: Mapping[str, Any]) -> Iterator[str]:
    enough = config.promotion.minimum_rows
    slices = [
        f"{one['column']} {one['value']} ({one['rows']})"
        for one in test["slices"]
        if one["rows"] < enough
    ]
    classes = [
        f"{one['class']} ({one['rows']})" for one in test["by_class"] if one["rows"] < enough
    ]
    for what, few in (("slices", slices), ("classes", classes)):
        if few:
            more = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
            yield (
                f"{what} with fewer than {enough} test rows, of which nothing is proven: "
                f"{', '.join(few[:SHOWN])}{more}"
            )


def _weak(config: PipelineConfig, test: Mapping[str, Any]) -> Iterator[str]:
    """The slice in which the promotion metric is worst, among those that are large enough."""
    metric = config.promotion.metric
    large = [
        one
        for one in test["slices"]
        if one["rows"] >= config.promotion.minimum_rows and one["candidate"][metric] is not None
    ]
    if not large:
        return
    worst = max if not registry.part("metrics", metric).HIGHER_IS_BETTER else min
    weakest = worst(large, key=lambda one: one["candidate"][metric])
    yield (
        f"weakest in the slice {weakest['column']} {weakest['value']}: {metric} "
        f"{weakest['candidate'][metric]:.4g} on {weakest['rows']} rows, "
        f"{test['candidate'][metric]:.4g} on all"
    )


def _fit(diagnosis: Mapping[str, Any]) -> Iterator[str]:
    if diagnosis["fit"] != "good":
        yield f"{diagnosis['fit']}: {'; '.join(diagnosis['findings'])}"
        yield f"what may help: {'; '.join(diagnosis['hints'])}"


def _drift(config: PipelineConfig, importance: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    if not importance:
        yield "which column's drift would hurt most was not measured"
        return
    name, one = next(iter(importance.items()))
    yield (
        f"most sensitive to drift in {name}: shuffled, it costs {one['mean']:.4g} of "
        f"{config.metrics[0]}"
    )
