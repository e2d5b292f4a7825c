"""Which row is on which side: disjoint, and the same row on the same side in every run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.data.checked import Checked, Chosen, cleaned
from pipeline_tasks.sections.settings import Split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def divide(checked: Checked) -> dict[str, Chosen]:
    """The rows of `train`, `validation` and `test`, and of `recent` where that judges.

    Of equal rows only the first is used, unless the pipeline file says otherwise. Earlier
    observations join training and validation; the latest become `recent`. Where the source's rows
    are left out after a change, earlier observations are what is tested on, too.
    """
    import numpy as np

    if not checked.takes_source:
        return _with_observations({}, checked)
    rules = checked.config
    hashes = np.zeros(checked.rows, dtype=np.uint64)
    if rules.drop_duplicates or rules.split.by in ("hash", "label"):
        hashes = np.concatenate([_hashes(frame) for frame in checked.slices()])
    unique = _unique(checked, hashes) if rules.drop_duplicates else np.arange(len(hashes))
    position = _positions(checked, hashes, unique)
    chosen = {
        side: Chosen(unique[is_there], _none()) for side, is_there in sides(position, checked)
    }
    if len(checked.observed):
        return _with_observations(chosen, checked)
    return chosen


def sides(
    position: NDArray[np.float64], checked: Checked
) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    """Who is where, by positions from 0 to 1: the first ones test, the next ones validate."""
    split = checked.config.split
    validation = split.test + split.validation
    yield "train", position >= validation
    yield "validation", (position >= split.test) & (position < validation)
    yield "test", position < split.test


def shares(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Hashes as numbers from 0 to 1."""
    return hashes.astype("float64") / 2.0**64


def ranks(hashes: NDArray[np.uint64], classes: NDArray[np.generic]) -> NDArray[np.float64]:
    """Each row's place among the hashes of its class, from 0 to 1; equal hashes, equal places."""
    import numpy as np

    found = np.empty(len(hashes))
    _, codes = np.unique(classes, return_inverse=True)
    for code in range(int(codes.max(initial=-1)) + 1):
        mine = codes == code
        order = np.sort(hashes[mine])
        found[mine] = (np.searchsorted(order, hashes[mine]) + 0.5) / len(order)
    return found


def _positions(
    checked: Checked, hashes: NDArray[np.uint64], unique: NDArray[np.int64]
) -> NDArray[np.float64]:
    import numpy as np

    split, label = checked.config.split, checked.config.label.name
    if split.by == "label":
        return ranks(hashes[unique], checked.array(label, {"": Chosen(unique, _none())})[""])
    if split.by == "time":
        return _from_the_end(checked, split, unique)
    if split.by == "group":
        names = [str(split.column)]
        return shares(np.concatenate([_hashes(part) for part in checked.slices(names)])[unique])
    return shares(hashes[unique])


def _from_the_end(checked: Checked, split: Split, unique: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of rows that come after each row, in the source or by the column; missing first."""
    import numpy as np

    rank = np.arange(len(unique))
    if split.column is not None:
        times = checked.frame([split.column])[split.column].take(unique)
        order = times.argsort(kind="stable") if times.notna().all() else _missing_first(times)
        rank[np.asarray(order)] = np.arange(len(unique))
    return 1 - (rank.astype("float64") + 1) / len(unique)


def _missing_first(times: pd.Series[str]) -> NDArray[np.int64]:
    import numpy as np

    is_missing = times.isna().to_numpy()
    known = np.flatnonzero(~is_missing)
    order = np.asarray(times[~is_missing].argsort(kind="stable"))
    return np.concatenate([np.flatnonzero(is_missing), known[order]])


def _unique(checked: Checked, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The places of rows that no earlier row is equal to: by hash, and for equal ones by value."""
    import numpy as np

    order = np.argsort(hashes, kind="stable")
    is_same = hashes[order][1:] == hashes[order][:-1]
    if not is_same.any():
        return np.arange(len(hashes))
    doubtful = np.zeros(len(hashes), dtype=bool)
    doubtful[order[1:][is_same]] = doubtful[order[:-1][is_same]] = True
    is_repeated = np.zeros(len(hashes), dtype=bool)
    is_repeated[doubtful] = _doubtful_rows(checked, doubtful).duplicated().to_numpy()
    return np.flatnonzero(~is_repeated)


def _doubtful_rows(checked: Checked, doubtful: NDArray[np.bool_]) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for frame in checked.slices(where=doubtful):
        categories = frame.columns[frame.dtypes == "category"]
        parts.append(frame.astype(dict.fromkeys(categories, "str")))
    return pd.concat(parts, ignore_index=True)


def _with_observations(chosen: dict[str, Chosen], checked: Checked) -> dict[str, Chosen]:
    """chosen: of the source, by side; empty where its rows are left out."""
    import numpy as np

    total = len(checked.observed)
    recent_rows = _recent_rows(checked)
    position = shares(_observed_hashes(checked))
    places = np.arange(total)
    earlier, recent = places[: total - recent_rows], places[total - recent_rows :]
    earlier = earlier[~np.isin(position[earlier], position[recent])]
    joined = chosen | _earlier_by_side(chosen, earlier, position, checked)
    return joined | ({"recent": Chosen(_none(), recent)} if recent_rows else {})


def _earlier_by_side(
    chosen: dict[str, Chosen],
    earlier: NDArray[np.int64],
    position: NDArray[np.float64],
    checked: Checked,
) -> dict[str, Chosen]:
    config = checked.config
    if not chosen:
        by = _group_positions(checked) if _are_grouped(config) else position
        where = sides(by[earlier], checked)
        return {side: Chosen(_none(), earlier[is_there]) for side, is_there in where}
    validates = position[earlier] < config.split.validation / (1 - config.split.test)
    if _are_grouped(config):
        earlier, validates = _as_their_groups(earlier, checked)
    return {
        "train": Chosen(chosen["train"].source, earlier[~validates]),
        "validation": Chosen(chosen["validation"].source, earlier[validates]),
    }


def _are_grouped(config: PipelineConfig) -> bool:
    split = config.split
    return split.by == "group" and config.columns[str(split.column)].is_input


def _as_their_groups(
    earlier: NDArray[np.int64], checked: Checked
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Observations whose group does not test, and which of them validate with their group."""
    where = dict(sides(_group_positions(checked)[earlier], checked))
    return earlier[~where["test"]], where["validation"][~where["test"]]


def _group_positions(checked: Checked) -> NDArray[np.float64]:
    observed = checked.observed[[str(checked.config.split.column)]]
    return shares(_hashes(cleaned(observed, checked.config)))


def _recent_rows(checked: Checked) -> int:
    """How many of the latest observations judge: none that the champion has learned."""
    rules = checked.config.retraining
    rows = min(int(checked.new_observations * rules.recent_share), rules.maximum_recent)
    rows = min(rows, checked.unlearned_observations)
    return rows if rows >= checked.config.promotion.minimum_rows else 0


def _observed_hashes(checked: Checked) -> NDArray[np.uint64]:
    return _hashes(cleaned(checked.observed, checked.config))


def _hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """A number for each row that depends on its content alone."""
    import pandas as pd

    return pd.util.hash_pandas_object(frame, index=False).to_numpy().astype("uint64", copy=False)


def _none() -> NDArray[np.int64]:
    import numpy as np

    return np.zeros(0, dtype=np.int64)
