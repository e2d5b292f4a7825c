"""Clean, transform, store: split the rows and learn from the training split how to encode them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeline_tasks import rows
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run, step

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from pydantic import JsonValue

VOCABULARY = 1000


@step(reads=("columns", "label", "drop_duplicates", "split", "promotion", "retraining"))
def prepare(run: Run, checked: Ref) -> Ref:
    """Divide the rows into training, validation and test, and learn the encoding from training.

    Equal rows are on the same side, and a row is on the same side in every run. The latest
    labelled observations of production become a window of their own, `recent`, which judges the
    candidate; the earlier ones are trained on.
    Writes the artifact `prepared`: train.npz, validation.npz, test.npz and, with enough
    observations, recent.npz (arrays as in rows.to_arrays), and preprocessing.json.
    """
    import pandas as pd

    folder = run.open(checked)
    config = run.config
    source = pd.read_parquet(folder / "rows.parquet")
    unique = source.drop_duplicates() if config.drop_duplicates else source
    splits = _split(unique, config)
    if (folder / "observations.parquet").is_file():
        seen = pd.read_parquet(folder / "observations.parquet")
        splits = _with_observations(splits, seen, config)
    _check_sizes(splits)
    with run.write("prepared") as draft:
        for name, frame in splits.items():
            rows.write_arrays(draft.folder / f"{name}.npz", rows.to_arrays(frame, config))
        learned = _learn(splits["train"], config)
        (draft.folder / "preprocessing.json").write_text(json.dumps(learned))
        draft.summary |= {name: len(frame) for name, frame in splits.items()}
        draft.summary["duplicates_dropped"] = len(source) - len(unique)
    return draft.done()


def _split(frame: pd.DataFrame, config: PipelineConfig) -> dict[str, pd.DataFrame]:
    test = config.split.test
    validation = test + config.split.validation
    position = _from_the_end(frame) if config.split.by == "time" else _shares(frame)
    return {
        "train": frame[position >= validation],
        "validation": frame[(position >= test) & (position < validation)],
        "test": frame[position < test],
    }


def _with_observations(
    splits: dict[str, pd.DataFrame], seen: pd.DataFrame, config: PipelineConfig
) -> dict[str, pd.DataFrame]:
    """Earlier observations join training and validation; the later ones become `recent`."""
    import numpy as np
    import pandas as pd

    rules = config.retraining
    recent_rows = min(int(len(seen) * rules.recent_share), rules.maximum_recent)
    if recent_rows < config.promotion.minimum_rows:
        recent_rows = 0
    earlier, recent = seen.iloc[: len(seen) - recent_rows], seen.iloc[len(seen) - recent_rows :]
    earlier = earlier[~np.isin(_shares(earlier), _shares(recent))]
    validates = _shares(earlier) < config.split.validation / (1 - config.split.test)
    joined = splits | {
        "train": pd.concat([splits["train"], earlier[~validates]], ignore_index=True),
        "validation": pd.concat([splits["validation"], earlier[validates]], ignore_index=True),
    }
    return joined | ({"recent": recent} if recent_rows else {})


def _shares(frame: pd.DataFrame) -> NDArray[np.float64]:
    """A number in [0, 1) for each row that depends on its content alone."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame, index=False)
    return hashes.to_numpy().astype("float64") / 2.0**64


def _from_the_end(frame: pd.DataFrame) -> NDArray[np.float64]:
    """The share of rows that come after each row."""
    import numpy as np

    return 1 - (np.arange(len(frame), dtype="float64") + 1) / len(frame)


def _check_sizes(splits: dict[str, pd.DataFrame]) -> None:
    empty = [name for name, frame in splits.items() if frame.empty]
    if empty:
        sizes = ", ".join(f"{name} {len(frame)}" for name, frame in splits.items())
        raise DataError(
            f"no rows left for {', '.join(empty)}: {sizes}",
            expected="at least one row in each split",
            fix="bring more rows, or change split.validation and split.test",
        )


def _learn(frame: pd.DataFrame, config: PipelineConfig) -> dict[str, dict[str, JsonValue]]:
    """What the encoding needs to know of the training rows, by column."""
    learned: dict[str, dict[str, JsonValue]] = {}
    for name, column in config.columns.items():
        if column.type == "number":
            values = frame[name].astype("float64")
            median = float(values.median()) if values.notna().any() else 0.0
            filled = values.fillna(median)
            scale = float(filled.std(ddof=0)) or 1.0
            learned[name] = {"median": median, "mean": float(filled.mean()), "scale": scale}
        elif column.type == "category":
            counts = frame[name].dropna().value_counts()
            learned[name] = {"vocabulary": [str(value) for value in counts.index[:VOCABULARY]]}
        else:
            learned[name] = {"scale": _brightest(frame, rows.pixels(name, column))}
    if config.task == "regression":
        truth = frame[config.label.name].astype("float64")
        scale = float(truth.std(ddof=0)) or 1.0
        learned[rows.LABEL] = {"mean": float(truth.mean()), "scale": scale}
    return learned


def _brightest(frame: pd.DataFrame, names: list[str]) -> float:
    return float(frame[names].to_numpy().max()) or 1.0
