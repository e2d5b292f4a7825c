"""The curves as pictures: the same numbers as in curves.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CELLS, MOST_BARS, MOST_LINES = 12, 15, 10
DPI = 80

Panel = Callable[["Axes"], None]


def of_split(path: Path, report: Mapping[str, Any], curves: Mapping[str, Any]) -> None:
    """A split's panels: confusion, ROC, PR and reliability; or predictions and errors."""
    if report["confusion"] is None:
        panels: list[Panel] = [
            lambda axes: _numbers(axes, curves),
            lambda axes: _errors(axes, curves["errors"]),
        ]
    else:
        panels = [
            lambda axes: _confusion(axes, report),
            lambda axes: _lines(axes, curves, ("false_positive_rate", "true_positive_rate"), "ROC"),
            lambda axes: _lines(axes, curves, ("true_positive_rate", "precision"), "PR"),
            lambda axes: _reliability(axes, curves["reliability"]),
        ]
    _draw(path, panels)


def of_learning(
    path: Path, learning: Mapping[str, Any], importance: Mapping[str, Mapping[str, float]]
) -> None:
    """The learning curves, and what shuffling a column costs."""
    panels: list[Panel] = [lambda axes: _learning(axes, learning)]
    if importance:
        panels.append(lambda axes: _importance(axes, importance))
    _draw(path, panels)


def _draw(path: Path, panels: list[Panel]) -> None:
    """Beside each other. Figure without pyplot keeps no state and opens no window."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels), 3.6))
    figure.subplots_adjust(left=0.4 / len(panels), right=0.98, bottom=0.15, top=0.9, wspace=0.35)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes)
    figure.savefig(path, dpi=DPI)


def _confusion(axes: Axes, report: Mapping[str, Any]) -> None:
    table = report["confusion"]
    axes.imshow(table, cmap="Blues")
    axes.set(title="confusion", xlabel="predicted", ylabel="true")
    if len(table) > MOST_CELLS:
        return
    names = [str(one["class"]) for one in report["by_class"]]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    darkest = max(map(max, table)) / 2
    for y, line in enumerate(table):
        for x, count in enumerate(line):
            color = "white" if count > darkest else "black"
            axes.text(x, y, str(count), ha="center", va="center", color=color, fontsize=8)


def _lines(axes: Axes, curves: Mapping[str, Any], keys: tuple[str, str], title: str) -> None:
    for one in curves["by_class"][:MOST_LINES]:
        axes.plot(one[keys[0]], one[keys[1]], label=one["class"])
    labels = [key.replace("_", " ") for key in keys]
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.02))
    if curves["by_class"]:
        axes.legend(fontsize=7)


def _reliability(axes: Axes, reliability: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.plot(reliability["confidence"], reliability["right"], marker="o")
    axes.set(
        title="reliability", xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02)
    )


def _numbers(axes: Axes, curves: Mapping[str, Any]) -> None:
    axes.scatter(curves["true"], curves["predicted"], s=8)
    axes.axline((curves["true"][0], curves["true"][0]), slope=1, color="grey", linestyle=":")
    axes.set(title="answers", xlabel="true", ylabel="predicted")


def _errors(axes: Axes, errors: Mapping[str, Any]) -> None:
    axes.stairs(errors["counts"], errors["edges"], fill=True)
    axes.set(title="errors", xlabel="predicted - true", ylabel="rows")


def _learning(axes: Axes, learning: Mapping[str, Any]) -> None:
    epochs = range(1, len(learning["loss"]) + 1)
    axes.plot(epochs, learning["loss"], marker=".", label="training")
    axes.plot(epochs, learning["validation_loss"], marker=".", label="validation")
    axes.set(title="learning", xlabel="epoch", ylabel="loss")
    axes.legend(fontsize=7)


def _importance(axes: Axes, importance: Mapping[str, Mapping[str, float]]) -> None:
    shown = list(importance.items())[:MOST_BARS][::-1]
    means, spreads = ([one[key] for _, one in shown] for key in ("mean", "spread"))
    axes.barh(range(len(shown)), means, xerr=spreads)
    axes.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=7)
    axes.set(title="importance", xlabel="worse by, when shuffled")
