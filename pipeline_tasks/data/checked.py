"""The artifact `checked`, read a column or a slice at a time: rows need not all be in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.data import corrections, rows
from pipeline_tasks.sections.settings import Column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

ROWS, OBSERVATIONS = "rows.parquet", "observations.parquet"
# In observations.parquet after a detected change: what has come since then.
IS_NEW = "_is_new"
# And always: when its prediction was asked for.
TIME = "_time"
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Chosen:
    """Some rows, by place: of the source's, and then of the observations."""

    source: NDArray[np.int64]
    observed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source) + len(self.observed)

    def only(self, kept: NDArray[np.bool_]) -> Chosen:
        """Those of them that are kept; `kept` is (len(self),)."""
        first = len(self.source)
        return Chosen(self.source[kept[:first]], self.observed[kept[first:]])


@dataclass(frozen=True)
class Checked:
    """Rows that passed the check, of the source and of production.

    learned_until: when the newest observation was that the champion has learned; empty if none.
    """

    folder: Path
    config: PipelineConfig
    learned_until: str = ""

    @cached_property
    def observed(self) -> pd.DataFrame:
        """Labelled observations, oldest first; an empty frame when there are none."""
        return self._observations.drop(columns=[IS_NEW, TIME], errors="ignore")

    @property
    def has_changed(self) -> bool:
        """Training is to learn what production is like since a detected change."""
        return IS_NEW in self._observations

    @property
    def new_observations(self) -> int:
        """How many of the observations, the latest ones, have come since the change, if any."""
        frame = self._observations
        return int(frame[IS_NEW].sum()) if self.has_changed else len(frame)

    @property
    def unlearned_observations(self) -> int:
        """How many of them, the latest ones, the champion has not learned."""
        if not self.learned_until:
            return len(self._observations)
        return sum(time > self.learned_until for time in self.times)

    @property
    def times(self) -> list[str]:
        """When each observation's prediction was asked for."""
        frame = self._observations
        return [] if frame.empty else frame[TIME].tolist()

    @property
    def takes_source(self) -> bool:
        """Whether the source's rows are trained on; after a change, a setting says so."""
        return not self.has_changed or self.config.retraining.replay_source

    @cached_property
    def _observations(self) -> pd.DataFrame:
        import pandas as pd

        path = self.folder / OBSERVATIONS
        return pd.read_parquet(path) if path.is_file() else pd.DataFrame()

    @cached_property
    def rows(self) -> int:
        """How many rows the source had."""
        import pyarrow.parquet as pq

        return int(pq.read_metadata(self.folder / ROWS).num_rows)

    def frame(self, names: Sequence[str]) -> pd.DataFrame:
        """These columns of all source rows; categories as pandas' own."""
        import pyarrow.parquet as pq

        found = pq.read_table(
            self.folder / ROWS, columns=list(names), read_dictionary=self._categories(names)
        )
        frame: pd.DataFrame = found.to_pandas(self_destruct=True, split_blocks=True)
        return frame

    def slices(
        self, names: Sequence[str] | None = None, *, where: NDArray[np.bool_] | None = None
    ) -> Iterator[pd.DataFrame]:
        """Source rows, cleaned by the columns' own rules, some at a time; all or some of them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = pq.ParquetFile(
            self.folder / ROWS, read_dictionary=self._categories(names or list(self.config.columns))
        )
        start = 0
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=names):
            stop = start + len(batch)
            some = batch if where is None else batch.filter(pa.array(where[start:stop]))
            yield cleaned(some.to_pandas(), self.config)
            start = stop

    def array(self, name: str, chosen: dict[str, Chosen]) -> dict[str, NDArray[np.generic]]:
        """One column's array (rows.to_array), or the label's, for each of these choices of rows."""
        import numpy as np

        column = self.config.columns.get(name)
        names = rows.frame_columns({name: column}) if column else [name]

        def array(frame: pd.DataFrame) -> NDArray[np.generic]:
            if column is None:
                return rows.to_labels(frame[name], self.config)
            return rows.to_array(frame, name, column)

        whole = array(self.frame(names))
        seen = array(self.observed[names]) if len(self.observed) else whole[:0]
        return {
            key: np.concatenate([whole[one.source], seen[one.observed]])
            if len(one.observed)
            else whole[one.source]
            for key, one in chosen.items()
        }

    def numbers(self, name: str, chosen: Chosen) -> NDArray[np.float64]:
        """A column of numbers, corrected, float64; NaN where missing."""
        import numpy as np

        whole = self.frame([name])[name].to_numpy(dtype=np.float64)
        parts = [whole[chosen.source]]
        if len(chosen.observed):
            parts.append(self.observed[name].to_numpy(dtype=np.float64)[chosen.observed])
        values: NDArray[np.float64] = np.concatenate(parts)
        column = self.config.columns.get(name)
        return corrections.numbers(values, column) if column else values

    def texts(self, name: str, chosen: Chosen) -> pa.Array:
        """A column of text, corrected; null where missing."""
        import pyarrow as pa

        whole = self.frame([name])[name].take(chosen.source)
        parts = [pa.Array.from_pandas(whole)]
        if len(chosen.observed):
            parts.append(pa.Array.from_pandas(self.observed[name].take(chosen.observed)))
        values = pa.concat_arrays([part.cast(pa.large_string()) for part in parts])
        return corrections.texts(values, self.config.columns[name])

    def _categories(self, names: Sequence[str]) -> list[str]:
        columns = self.config.columns
        return [name for name in names if name in columns and columns[name].type == "category"]


def cleaned(frame: pd.DataFrame, config: PipelineConfig) -> pd.DataFrame:
    """Rows with the columns' rules applied, and 0 in place of -0, which is the same number."""
    import pandas as pd

    parts: dict[Any, object] = {}
    for name in frame.columns:
        values, column = frame[name], config.columns.get(name)
        if column and corrections.is_needed(column):
            parts[name] = _corrected(values, column)
        else:
            parts[name] = values + 0.0 if values.dtype.kind == "f" else values
    return pd.DataFrame(parts, index=frame.index)


def _corrected(values: pd.Series[Any], column: Column) -> object:
    import pyarrow as pa

    if column.type == "number":
        return corrections.numbers(values.to_numpy(dtype="float64"), column) + 0.0
    found = corrections.texts(pa.Array.from_pandas(values).cast(pa.large_string()), column)
    return found.to_pandas().astype("str").set_axis(values.index)
