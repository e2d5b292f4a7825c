"""Labels joined with their predictions, by column: what arrived, what it says, what it is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.values import Champion, Scalar
from pipeline_tasks.data import rows
from pipeline_tasks.monitoring import logged_arrays
from pipeline_tasks.monitoring.cohorts import HOUR, by_hour
from pipeline_tasks.monitoring.logged_arrays import Sample
from pipeline_tasks.observations import LABELS, PREDICTIONS, arrow, columns, history
from pipeline_tasks.observations.columns import Group
from pipeline_tasks.observations.history import Entry
from pipeline_tasks.observations.wanted import Wanted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COHORT = "_cohort"


@dataclass(frozen=True)
class Times:
    """Up to where labels have been seen and judged, and up to where they are now.

    looked: up to where they were counted in the look before. judged: up to where they were judged,
    or, where predictions have to mature, up to where those were. late: predictions until then have
    been in an earlier look's judgement. matured: predictions until then are judged now; "" where
    each label is judged when it arrives.
    """

    looked: str
    judged: str
    late: str
    matured: str
    until: str


class Arrived:
    """The ids for which labels have arrived since, and every label of theirs, earlier ones, too.

    By id, arrays of: `counting`, the number of the label that counts; `is_recent`, some label came
    since the last look; `is_first`, and none before; `is_news`, what counts is not what has been
    judged. kinds: what the labels since the last look were.
    """

    def __init__(self, folder: Path, champion: Champion, times: Times) -> None:
        import pyarrow as pa
        from pyarrow import compute

        values: dict[Any, int] = {}
        since = min(times.looked, times.judged)
        table = columns.labels(folder / LABELS, values, since=since, until=times.until)
        ids = compute.unique(table["id"])
        self.wanted = Wanted(ids, champion.promoted_at)
        earliest = max(self.wanted.earliest, champion.promoted_at)
        if earliest < since:
            before = columns.labels(folder / LABELS, values, since=earliest, until=since)
            known = before.filter(compute.is_in(before["id"], value_set=ids))
            table = pa.concat_tables([known, table])
        self.ids, self.values = ids, list(values)
        self._read(table, times)

    def _read(self, table: Any, times: Times) -> None:
        """Of nearly all ids there is one label; the others are looked at one by one."""
        import numpy as np
        from pyarrow import compute

        self._time = table["time"]
        self._id = arrow.numbers(compute.index_in(table["id"], value_set=self.ids))
        label = arrow.numbers(table["label"])
        is_recent = arrow.numbers(compute.greater(self._time, arrow.text(times.looked)))
        is_news = arrow.numbers(compute.greater(self._time, arrow.text(times.judged)))
        self.counting = np.zeros(len(self.ids), dtype=np.int32)
        self.counting[self._id] = label
        self.is_recent, self.is_first, self.is_news = np.zeros((3, len(self.ids)), dtype=np.bool_)
        self.is_recent[self._id[is_recent]] = True
        self.is_first[:] = self.is_recent
        self.is_news[self._id[is_news]] = True
        many = np.bincount(self._id, minlength=len(self.ids)) > 1
        self.kinds = Counter[str](first=int((self.is_recent & ~many).sum()))
        several = table.filter(arrow.mask(many[self._id]))
        ids = self._id[many[self._id]].tolist()
        for place, entries in _by_id(ids, several):
            self._read_several(place, entries, times)

    def _read_several(self, place: int, entries: list[Entry], times: Times) -> None:
        counting = history.counting(entries).label
        judged = [one for one in entries if one.arrived <= times.judged]
        found = zip(entries, history.kinds(entries), strict=True)
        self.kinds.update(kind for entry, kind in found if entry.arrived > times.looked)
        self.counting[place] = counting
        self.is_first[place] = entries[0].arrived > times.looked
        self.is_news[place] = not judged or history.counting(judged).label != counting

    def latest(self, is_chosen: NDArray[np.bool_] | None = None) -> str:
        """When the latest label arrived, of all ids or of these; "" if there is none."""
        from pyarrow import compute

        time = self._time
        if is_chosen is not None:
            time = time.filter(arrow.mask(is_chosen[self._id]))
        found: str | None = compute.max(time).as_py()
        return found or ""


def _by_id(ids: list[int], table: Any) -> Iterator[tuple[int, list[Entry]]]:
    """The labels of each id in the order in which they arrived."""
    told = zip(
        ids,
        table["time"].to_pylist(),
        table["observed_at"].to_pylist(),
        table["label"].to_pylist(),
        strict=True,
    )
    ordered = sorted(told, key=lambda one: one[:2])
    for place, found in groupby(ordered, key=lambda one: one[0]):
        yield place, [Entry(time, moment or time, label) for _, time, moment, label in found]


@dataclass
class Joined:
    """What the labels that arrived are about.

    sample: the judged rows: `_truth`, `_cohort` and what logged_arrays.taken has. judged: how many
    there are in each cohort; latest: when the latest label of these arrived, newest: of all. first:
    predictions with their first label, by cohort. kinds: see Arrived. late: labels that say
    something new of predictions that an earlier look has judged.
    """

    sample: Sample
    judged: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    latest: str = ""
    newest: str = ""
    late: int = 0
    of_other_versions: int = 0
    orphaned: int = 0
    unsampled: int = 0

    def facts(self) -> dict[str, Scalar]:
        """The counts, as window.json has them."""
        kinds: dict[str, Scalar] = {
            f"labels_{kind}": self.kinds[kind] for kind in history.KINDS[1:]
        }
        return kinds | {
            "labelled_first": self.first.total(),
            "labels_arrived": self.kinds.total(),
            "labels_late": self.late,
            "labels_of_other_versions": self.of_other_versions,
            "labels_orphaned": self.orphaned,
            "labels_unsampled": self.unsampled,
        }


def nothing(config: PipelineConfig, most_rows: int = 0) -> Joined:
    """No label has arrived."""
    import numpy as np

    told = {"_truth": rows.truths([], config), COHORT: np.empty(0, dtype="U13")}
    return Joined(Sample(logged_arrays.empty(config) | told, most_rows))


class Join:
    """Goes through the predictions that labels are about, group by group."""

    def __init__(
        self, config: PipelineConfig, champion: Champion, times: Times, most_rows: int
    ) -> None:
        self._config, self._champion, self._times = config, champion, times
        self.found = nothing(config, most_rows)

    def go_through(self, folder: Path) -> Joined:
        """Read the labels, and the groups of predictions that these are about."""
        import numpy as np

        arrived = Arrived(folder, self._champion, self._times)
        is_known, is_judged = np.zeros((2, len(arrived.ids)), dtype=np.bool_)
        for group, places, ids in arrived.wanted.groups(folder / PREDICTIONS, self._times.until):
            is_known[ids] = True
            chosen = self._judged(group, places, ids, arrived)
            is_judged[ids[chosen]] = True
            if chosen.any():
                self._take(group, places[chosen], ids[chosen], arrived)
        self._count_missing(arrived, is_known)
        self.found.kinds = arrived.kinds
        self.found.latest, self.found.newest = arrived.latest(is_judged), arrived.latest()
        return self.found

    def _judged(
        self, group: Group, places: NDArray[np.int64], ids: NDArray[np.int64], arrived: Arrived
    ) -> NDArray[np.bool_]:
        """Count, and say which of the rows are judged now."""
        from pyarrow import compute

        times, time = self._times, group.keys["time"].take(arrow.places(places))
        is_mine = arrow.numbers(compute.greater(time, arrow.text(self._champion.promoted_at)))
        is_mine = is_mine & (group.version == self._champion.version)
        is_recent = arrived.is_recent[ids]
        self.found.of_other_versions += int((is_recent & ~is_mine).sum())
        self.found.first.update(by_hour(time.filter(arrow.mask(arrived.is_first[ids] & is_mine))))
        is_late = arrow.numbers(compute.less_equal(time, arrow.text(times.late)))
        is_news = arrived.is_news[ids]
        self.found.late += int((is_late & is_mine & is_recent & is_news).sum())
        if times.matured:
            is_news = group.between(times.judged, times.matured)[places]
        chosen: NDArray[np.bool_] = is_mine & is_news
        return chosen

    def _take(
        self, group: Group, places: NDArray[np.int64], ids: NDArray[np.int64], arrived: Arrived
    ) -> None:
        """Rows whose label is one that the model may answer; others cannot be right or wrong."""
        import numpy as np
        from pyarrow import compute

        self.found.judged.update(by_hour(group.keys["time"].take(arrow.places(places))))
        label = arrived.counting[ids]
        knows = np.array([self._config.label.knows(one) for one in arrived.values])[label]
        table = group.whole().take(arrow.places(places[knows]))
        told = [arrived.values[one] for one in label[knows].tolist()]
        hours = compute.utf8_slice_codeunits(table["time"], 0, HOUR).to_pylist()
        arrays = logged_arrays.taken(table, group.version, self._config)
        arrays |= {"_truth": rows.truths(told, self._config)}
        self.found.sample.add(arrays | {COHORT: np.array(hours, dtype="U13")})

    def _count_missing(self, arrived: Arrived, is_known: NDArray[np.bool_]) -> None:

        logged = self._config.logged
        missing = arrived.ids.filter(arrow.mask(arrived.is_recent & ~is_known)).to_pylist()
        self.found.unsampled = sum(not logged.has(key.rpartition("-")[0]) for key in missing)
        self.found.orphaned = len(missing) - self.found.unsampled
