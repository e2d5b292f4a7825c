"""May the champion be asked the candidate's rows, and do its answers mean the same?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_tasks.sections.settings import Label

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Asked:
    """What an exported model takes, by column, and the label that it answers."""

    takes: Mapping[str, tf.TensorSpec]
    label: Label

    def obstacles(self, columns: Columns, label: Label) -> list[str]:
        """Why its answers to these rows cannot be had, or not be compared; nothing if they can.

        columns: as rows.to_arrays makes them. label: what the candidate answers.
        """
        lacking = [name for name in self.takes if name not in columns]
        found = [f"it takes {', '.join(lacking)}, which the rows do not have"] if lacking else []
        for name, spec in self.takes.items():
            mine, theirs = _kind(columns.get(name), spec), _kind_of_spec(spec)
            if mine != theirs:
                found.append(f"it takes {name} as {theirs}, and the rows have {mine}")
        if self.label.type != label.type or {*self.label.classes} != {*label.classes}:
            found.append(f"it answers {_answers(self.label)}, and the candidate {_answers(label)}")
        return found

    def given(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Of these columns, those that it takes."""
        return {name: columns[name] for name in self.takes}

    def in_order_of(self, label: Label, answer: NDArray[Any]) -> NDArray[Any]:
        """Its probabilities, (n, classes), in the candidate's order of classes; values as are."""
        mine: tuple[object, ...] = self.label.classes
        return answer[:, [mine.index(one) for one in label.classes]] if mine else answer


def _kind(values: NDArray[Any] | None, spec: tf.TensorSpec) -> str:
    if values is None:
        return _kind_of_spec(spec)
    return _named(values.dtype.kind in "UO", values.shape[1:])


def _kind_of_spec(spec: tf.TensorSpec) -> str:
    return _named(spec.dtype == "string", tuple(spec.shape[1:]))


def _named(is_text: bool, shape: tuple[int, ...]) -> str:
    if shape:
        return f"images of {' x '.join(map(str, shape))}"
    return "text" if is_text else "numbers"


def _answers(label: Label) -> str:
    return ", ".join(map(str, label.classes)) or "a number"
