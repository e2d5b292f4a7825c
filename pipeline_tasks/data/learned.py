"""What the encoding needs to know of the training rows, and which of them are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipeline_tasks.data import rows, scaling, vocabulary
from pipeline_tasks.data.checked import Checked, Chosen
from pipeline_tasks.sections import preparation
from pipeline_tasks.sections.settings import Column
from pipeline_tasks.transforms import date_parts, words

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Known = dict[str, JsonValue]


@dataclass(frozen=True)
class Training:
    """The training rows, a column at a time."""

    checked: Checked
    chosen: Chosen

    def numbers(self, name: str, known: Known) -> NDArray[np.float64]:
        """A column of numbers as the graph has them before standardising: filled and clipped."""
        import numpy as np

        values = self.checked.numbers(name, self.chosen)
        fill: Any = known["fill"]
        filled: NDArray[np.float64] = np.where(np.isnan(values), fill, values)
        return _within(filled[:, None], known.get("outliers"))[:, 0]

    def texts(self, name: str, known: Known) -> pa.Array:
        """A column of text as the graph has it before the encoding: "" where still missing."""
        return self.checked.texts(name, self.chosen).fill_null(str(known.get("fill", "")))


def kept(checked: Checked, chosen: Chosen) -> Chosen:
    """The training rows without those that the pipeline file wants left out: missing, or noise."""
    columns = rows.inputs(checked.config)
    for name, column in columns.items():
        if column.missing == "drop":
            chosen = chosen.only(~_is_missing(checked, chosen, name, column))
    for name, column in columns.items():
        if column.outliers is not None:
            part, params = preparation.loaded(column.outliers)
            values = _filled(Training(checked, chosen), name)[:, None]
            chosen = chosen.only(part.keep(params, values))
    rule, names = checked.config.preparation.outliers, rows.numbers(checked.config)
    if rule is not None and names and len(chosen):
        part, params = preparation.loaded(rule)
        chosen = chosen.only(part.keep(params, _together(Training(checked, chosen), names)))
    return chosen


def learn(checked: Checked, chosen: Chosen) -> dict[str, Known]:
    """What was learned by column, of the label, of outliers in all numbers, and by feature."""
    config, training = checked.config, Training(checked, chosen)
    columns = rows.inputs(config)
    learned = {name: _column(training, name, column) for name, column in columns.items()}
    together = _outliers(training)
    learned |= {rows.OUTLIERS: together} if together else {}
    for name in rows.numbers(config):
        learned[name] |= scaling.learn(_bounded(training, learned, name))
    if config.task == "regression":
        learned[rows.LABEL] = {**scaling.learn(checked.numbers(config.label.name, chosen))}
    features: Known = {
        name: _feature(training, learned, name) for name in config.preparation.features
    }
    return learned | ({rows.FEATURES: features} if features else {})


def _column(training: Training, name: str, column: Column) -> Known:
    if column.type == "image":
        return {"scale": _brightest(training, name)}
    if column.type == "number":
        return _number(training, name, column)
    known = _fill_of_text(training, name, column)
    values = training.texts(name, known)
    if column.type == "category":
        return known | {"vocabulary": list(vocabulary.chosen(_counts(values), column.vocabulary))}
    if column.type == "date":
        return known | date_parts.learn(preparation.DATE_PARTS, [values])
    return known | words.learn(preparation.words_of(column), [values])


def _number(training: Training, name: str, column: Column) -> Known:
    values = training.checked.numbers(name, training.chosen)
    median = _median(values)
    fill = median
    if column.missing == "mode":
        fill = _most_frequent(values)
    elif column.missing == "constant":
        fill = float(column.fill or 0)
    known: Known = {"median": median, "fill": fill}
    if column.outliers is not None:
        part, params = preparation.loaded(column.outliers)
        known["outliers"] = part.learn(params, training.numbers(name, known)[:, None])
    return known


def _fill_of_text(training: Training, name: str, column: Column) -> Known:
    if column.missing == "constant":
        return {"fill": str(column.fill)}
    if column.missing == "mode":
        counts = _counts(training.checked.texts(name, training.chosen).drop_null())
        return {"fill": (vocabulary.chosen(counts, 1) or [""])[0]}
    return {}


def _outliers(training: Training) -> Known:
    """The bounds of all numbers together, a list each in the order of rows.numbers; or nothing."""
    rule, names = (
        training.checked.config.preparation.outliers,
        rows.numbers(training.checked.config),
    )
    if rule is None or not names:
        return {}
    part, params = preparation.loaded(rule)
    bounds: Known = part.learn(params, _together(training, names))
    return bounds


def _feature(training: Training, learned: dict[str, Known], name: str) -> Known:
    config = training.checked.config
    part, params = preparation.loaded(config.preparation.features[name])
    columns: list[object] = []
    for of in params.of:
        if config.columns[of].is_text:
            columns.append(training.texts(of, learned[of]))
        else:
            columns.append(_bounded(training, learned, of))
    known: Known = part.learn(params, columns)
    return known


def _bounded(training: Training, learned: dict[str, Known], name: str) -> NDArray[np.float64]:
    place = rows.numbers(training.checked.config).index(name)
    together: Any = learned.get(rows.OUTLIERS, {})
    bounds = {key: values[place : place + 1] for key, values in together.items()}
    return _within(training.numbers(name, learned[name])[:, None], bounds)[:, 0]


def _within(values: NDArray[np.float64], bounds: Any) -> NDArray[np.float64]:
    import numpy as np

    return np.clip(values, bounds["low"], bounds["high"]) if bounds else values


def _together(training: Training, names: list[str]) -> NDArray[np.float64]:
    import numpy as np

    return np.stack([_filled(training, name) for name in names], axis=1)


def _filled(training: Training, name: str) -> NDArray[np.float64]:
    column = training.checked.config.columns[name]
    return training.numbers(name, _number(training, name, column))


def _is_missing(checked: Checked, chosen: Chosen, name: str, column: Column) -> NDArray[np.bool_]:
    import numpy as np

    if column.is_text:
        found: NDArray[np.bool_] = checked.texts(name, chosen).is_null().to_numpy(False)
        return found
    return np.isnan(checked.numbers(name, chosen))


def _median(values: NDArray[np.float64]) -> float:
    import numpy as np

    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def _most_frequent(values: NDArray[np.float64]) -> float:
    """The most frequent number; of two the lesser."""
    import numpy as np

    found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return float(found[counts.argmax()]) if len(found) else 0.0


def _counts(values: pa.Array) -> dict[str, int]:
    texts, counts = (part.to_pylist() for part in values.value_counts().flatten())
    return dict(zip(texts, counts, strict=True))


def _brightest(training: Training, name: str) -> float:
    pixels = training.checked.array(name, {"": training.chosen})[""]
    return float(pixels.max()) or 1.0
