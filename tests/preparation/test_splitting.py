"""Splits: disjoint, whole, and the same row on the same side in every run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.data import splitting
from pipeline_tasks.data.checked import Checked

COLUMNS = {
    "width": {"type": "number", "nullable": True},
    "colour": {"type": "category", "nullable": True},
    "customer": {"type": "category", "input": False},
    "day": {"type": "date", "input": False},
}
ROWS = st.lists(
    st.tuples(
        st.one_of(st.just(float("nan")), st.integers(-4, 4).map(float)),
        st.sampled_from(["red", "blue", None]),
        st.integers(0, 8).map(lambda number: f"c{number}"),
        st.integers(1, 28).map(lambda day: f"2026-01-{day:02}"),
        st.sampled_from([0.0, 1.0]),
    ),
    min_size=1,
    max_size=60,
)
fast = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def checked(folder: Path, rows: list[tuple], **changes: object) -> Checked:
    content = {
        "name": "split",
        "source": {"kind": "csv", "path": "x.csv"},
        "columns": COLUMNS,
        "label": {"name": "kind", "classes": [0, 1]},
        "model": {"kind": "mlp"},
    }
    names = [*COLUMNS, "kind"]
    frame = pd.DataFrame(rows, columns=names).astype(
        {"width": "float64", "colour": "str", "customer": "str", "day": "str", "kind": "float64"}
    )
    frame.to_parquet(folder / "rows.parquet", index=False)
    return Checked(folder, PipelineConfig.model_validate(content | changes))


def sides(found: Checked) -> dict[str, str]:
    """The side of each different row, by its content."""
    frame = found.frame([*COLUMNS, "kind"])
    where: dict[str, str] = {}
    for side, chosen in splitting.divide(found).items():
        for row in frame.iloc[chosen.source].to_numpy(dtype=object).tolist():
            key = json.dumps([None if value != value else value for value in row])
            assert where.setdefault(key, side) == side
    return where


@fast
@given(ROWS, st.sampled_from(["hash", "label", "time"]), st.booleans())
def test_every_row_is_on_one_side_and_duplicates_are_used_once(tmp_path, rows, by, drop):
    if by == "time" and not drop:
        return
    found = checked(tmp_path, rows, split={"by": by}, drop_duplicates=drop)
    places = np.concatenate([part.source for part in splitting.divide(found).values()])
    frame = found.frame([*COLUMNS, "kind"]).astype({"colour": "str", "customer": "str"})
    expected = np.flatnonzero(~frame.duplicated()) if drop else np.arange(len(frame))
    assert sorted(places) == list(expected)
    sides(found)


@fast
@given(ROWS, st.sampled_from(["hash", "label", "group"]), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(tmp_path, rows, by, random):
    split = {"by": by} | ({"column": "customer"} if by == "group" else {})
    before = sides(checked(tmp_path, rows, split=split))
    shuffled = random.sample(rows, len(rows))
    assert sides(checked(tmp_path, shuffled, split=split)) == before


@fast
@given(ROWS, ROWS)
def test_other_rows_do_not_move_a_row_split_by_hash_or_group(tmp_path, rows, more):
    for split in ({"by": "hash"}, {"by": "group", "column": "customer"}):
        before = sides(checked(tmp_path, rows, split=split))
        after = sides(checked(tmp_path, rows + more, split=split))
        assert before.items() <= after.items()


@fast
@given(ROWS)
def test_a_group_is_on_one_side(tmp_path, rows):
    found = checked(tmp_path, rows, split={"by": "group", "column": "customer"})
    customers = found.frame(["customer"])["customer"].astype("str")
    seen = [set(customers.iloc[part.source]) for part in splitting.divide(found).values()]
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_observations_stay_with_their_group_and_never_join_one_that_tests(tmp_path):
    columns = COLUMNS | {"customer": {"type": "category"}}
    split = {"by": "group", "column": "customer"}
    checked(tmp_path, many(400, seed=9))
    (tmp_path / "rows.parquet").rename(tmp_path / "observations.parquet")
    found = checked(tmp_path, many(400), split=split, columns=columns)
    divided = splitting.divide(found)
    source = found.frame(["customer"])["customer"].astype("str")
    groups = {
        side: {*source.iloc[part.source], *found.observed["customer"].iloc[part.observed]}
        for side, part in divided.items()
        if side != "recent"
    }
    assert sum(map(len, groups.values())) == len(set.union(*groups.values()))
    assert len(divided["train"].observed) > 50
    assert len(divided["recent"].observed) == 160


def many(rows: int, seed: int = 3) -> list[tuple]:
    random = np.random.default_rng(seed)
    return [
        (float(value), "red", f"c{index % 40}", f"2026-01-{1 + index % 28:02}", float(kind < 0.05))
        for index, (value, kind) in enumerate(random.random((rows, 2)))
    ]


def test_stratified_sides_have_each_class_in_the_same_share(tmp_path):
    rows = many(2000)
    found = checked(tmp_path, rows, split={"by": "label"})
    labels = np.array([row[-1] for row in rows])
    rare = labels.sum()
    for side, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        places = splitting.divide(found)[side].source
        assert labels[places].sum() == pytest.approx(share * rare, abs=1)
        assert len(places) == pytest.approx(share * len(rows), abs=2)


def test_by_time_the_latest_rows_of_the_column_test_and_missing_times_train(tmp_path):
    rows = [(float(i), "red", "c", f"2026-{1 + i % 12:02}-01", float(i % 2)) for i in range(240)]
    rows[7] = (*rows[7][:3], None, rows[7][4])
    found = checked(tmp_path, rows, split={"by": "time", "column": "day"})
    divided = splitting.divide(found)
    days = found.frame(["day"])["day"]
    assert days.iloc[divided["train"].source].max() <= days.iloc[divided["validation"].source].min()
    assert days.iloc[divided["validation"].source].max() <= days.iloc[divided["test"].source].min()
    assert 7 in divided["train"].source


def test_hashes_are_those_of_pandas_so_that_no_row_moves_with_a_new_version(tmp_path):
    rows = many(500)
    found = checked(tmp_path, rows)
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    position = pd.util.hash_pandas_object(frame, index=False).to_numpy().astype("float64") / 2**64
    divided = splitting.divide(found)
    assert list(divided["test"].source) == list(np.flatnonzero(position < 0.15))
    assert list(divided["train"].source) == list(np.flatnonzero(position >= 0.3))


def test_rows_that_hash_alike_but_differ_are_both_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(splitting, "_hashes", lambda frame: np.zeros(len(frame), dtype="uint64"))
    rows = [*many(30), many(30)[4]]
    divided = splitting.divide(checked(tmp_path, rows))
    assert sum(len(part.source) for part in divided.values()) == 30


def test_minus_zero_is_zero(tmp_path):
    rows = [(0.0, "red", "c", "2026-01-01", 0.0), (-0.0, "red", "c", "2026-01-01", 0.0)]
    divided = splitting.divide(checked(tmp_path, rows))
    assert sum(len(part.source) for part in divided.values()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": {"by": "group"}}, "needs `column"),
        ({"split": {"by": "group", "column": "shop"}}, "must be among the columns"),
        ({"split": {"by": "hash", "column": "width"}}, "has no column"),
        (
            {"split": {"by": "label"}, "label": {"name": "kind", "type": "number"}},
            "needs a label with classes",
        ),
    ],
)
def test_a_split_that_cannot_be_made_is_refused_with_the_pipeline_file(small, changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes).run()


def test_a_column_that_is_no_input_splits_rows_and_is_never_asked_of_a_client(small):
    made = small(
        columns={
            "width": {"type": "number"},
            "height": {"type": "number", "nullable": True},
            "colour": {"type": "category", "input": False},
        },
        split={"by": "group", "column": "colour", "validation": 0.3, "test": 0.3},
    )
    lines = made.csv.read_text().splitlines()
    made.csv.write_text(
        "\n".join(
            [lines[0]]
            + [
                ",".join([*line.split(",")[:2], f"c{number % 37}", line.split(",")[3]])
                for number, line in enumerate(lines[1:])
            ]
        )
    )
    left = made.steps()
    golden = json.loads(
        (made.run().open(left["export"]) / "assets.extra" / "golden.json").read_text()
    )
    assert set(golden["instances"][0]) == {"width", "height"}
