"""The curves of one version, drawn from what its evaluation has kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline_tasks.pages.charts import WIDE, Axis, Chart, Line, Mark, Point

MOST_CLASSES = 10
EVEN = (Point(0.0, 0.0), Point(1.0, 1.0))


def learning(
    found: Mapping[str, Any] | None, *, of: int | None = None, width: int = WIDE
) -> Markup:
    """Loss by epoch, with the best epoch and where training went on after a kill.

    of: how many epochs there may be, where training is not over.
    """
    if not found or not found.get("loss"):
        return Markup("")
    validation = found["validation_loss"]
    best = validation.index(min(validation)) + 1
    marks = [Mark(best, f"best epoch {best}")]
    marks += [
        Mark(after + 0.5, f"resumed after epoch {after}", "mark-resume")
        for after in found.get("resumed_after", ())
    ]
    lines = [
        Line("training", "realised", _by_epoch(found["loss"], "training loss"), dots=False),
        Line(
            "validation",
            "second",
            _by_epoch(validation, "validation loss"),
            dots=len(validation) < 3,
        ),
    ]
    axis = Axis("", lambda value: f"epoch {value:.0f}", 1, of or max(2, len(validation)))
    return Chart("Loss by epoch", axis, Axis("loss"), lines, marks, width=width).svg()


def _by_epoch(values: Sequence[float], name: str) -> list[Point]:
    return [
        Point(epoch, value, tip=f"epoch {epoch}: {name} {value:.4g}")
        for epoch, value in enumerate(values, start=1)
    ]


def of_split(found: Mapping[str, Any] | None) -> list[tuple[str, Markup]]:
    """ROC, precision and recall, reliability; of numbers, predicted by true ones, and errors."""
    if not found:
        return []
    if "by_class" in found:
        return _of_classes(found)
    return _of_numbers(found)


def _of_classes(found: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    shown = found["by_class"][:MOST_CLASSES]
    roc = [
        _curve(one, number, "false_positive_rate", "true_positive_rate")
        for number, one in enumerate(shown)
    ]
    recall = [
        _curve(one, number, "true_positive_rate", "precision") for number, one in enumerate(shown)
    ]
    even = Line("chance", "even", EVEN, dots=False)
    return [
        (
            "ROC, each class against the rest",
            _square("ROC", "false positive rate", "true positive rate", [even, *roc]),
        ),
        ("Precision by recall", _square("Precision by recall", "recall", "precision", recall)),
        ("Reliability", _reliability(found["reliability"])),
    ]


def _curve(one: Mapping[str, Any], number: int, x: str, y: str) -> Line:
    points = [
        Point(a, b, tip=f"class {one['class']}, threshold {at:.3g}: {a:.3g}, {b:.3g}")
        for a, b, at in zip(one[x], one[y], one["threshold"], strict=True)
    ]
    css = ("first", "second", "third")[number % 3]
    return Line(f"class {one['class']}", css, points, dots=False)


def _square(title: str, x: str, y: str, lines: Sequence[Line]) -> Markup:
    few = len([line for line in lines if line.css != "even"]) <= 3
    return Chart(
        title, Axis(x, lambda v: f"{v:.2g}", 0, 1), Axis(y, first=0, last=1), lines, has_legend=few
    ).svg()


def _reliability(found: Mapping[str, Any]) -> Markup:
    points = [
        Point(said, right, tip=f"said {said:.1%} sure, right {right:.1%} of {rows} rows")
        for said, right, rows in zip(
            found["confidence"], found["right"], found["rows"], strict=True
        )
    ]
    lines = [
        Line("as sure as right", "even", EVEN, dots=False),
        Line("this version", "realised", points),
    ]
    return _square("Reliability", "confidence", "share right", lines)


def _of_numbers(found: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    pairs = sorted(zip(found["true"], found["predicted"], strict=True))
    ends = [Point(pairs[0][0], pairs[0][0]), Point(pairs[-1][0], pairs[-1][0])]
    points = [Point(a, b, tip=f"true {a:.4g}, predicted {b:.4g}") for a, b in pairs]
    errors = found["errors"]
    counts = [
        Point((low + high) / 2, count, tip=f"{count} errors from {low:.3g} to {high:.3g}")
        for count, low, high in zip(
            errors["counts"], errors["edges"], errors["edges"][1:], strict=False
        )
    ]
    return [
        (
            "Predicted by true value",
            Chart(
                "Predicted by true value",
                Axis("true"),
                Axis("predicted"),
                [Line("exact", "even", ends, dots=False), Line("rows", "dots-only", points)],
            ).svg(),
        ),
        (
            "Errors",
            Chart(
                "Errors", Axis("error"), Axis("rows", first=0), [Line("rows", "realised", counts)]
            ).svg(),
        ),
    ]
