"""The drift detector calibrated on its own reference: how often it is wrong, what it sees."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bench.streams import autocorrelated, independent
from pipeline_tasks.decisions.drift import drift
from pipeline_tasks.detectors.block_bootstrap import Params, Summary, compare, summarise, tally

PARAMS = Params()
WORDS = np.array(["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"])


def columns(matrix):
    return {f"x{index}": values for index, values in enumerate(matrix)}


def mixed(random, rows):
    """Numbers with gaps, categories, a key with a long tail of rare values, and prose."""
    keys = np.array([f"u{value % 10**6}" for value in random.zipf(1.5, size=rows)])
    notes = [" ".join(random.choice(WORDS, size=random.integers(1, 9))) for _ in range(rows)]
    gaps = random.random(rows) < 0.1
    return {
        "age": np.where(gaps, np.nan, random.normal(size=rows)).astype(np.float32),
        "plan": random.choice(["basic", "plus", ""], size=rows, p=[0.6, 0.3, 0.1]),
        "key": keys,
        "note": np.array([f"{text} id{random.integers(10**6)}" for text in notes], dtype=object),
    }


@pytest.fixture(scope="module")
def reference():
    return mixed(np.random.default_rng(1), 5000)


@pytest.fixture(scope="module")
def summary(reference):
    return summarise(PARAMS, reference)


def look(summary, window):
    return {one.name: one for one in compare(PARAMS, summary, tally(summary, window))}


@pytest.mark.parametrize("stream", [independent, autocorrelated])
@pytest.mark.parametrize("rows", [100, 1000])
def test_an_undrifted_stream_seldom_alarms(stream, rows):
    single, both, windows = 0, 0, 10
    for trial in range(5):
        values = stream(np.random.default_rng([2, trial]), 10_000 + windows * rows)
        summary = summarise(PARAMS, columns(values[:, :10_000]))
        parts = np.split(values[:, 10_000:], windows, axis=1)
        looks = [compare(PARAMS, summary, tally(summary, columns(part))) for part in parts]
        single += sum(any(one.is_drift for one in found) for found in looks)
        both += sum(drift(looks[: end + 1])[0].is_yes for end in range(2, windows))
    # One in a hundred windows may; four in fifty would be chance once in 600 times.
    assert single <= 4
    assert both <= 1


def test_a_shift_is_seen_as_soon_as_so_many_rows_can_show_it():
    for stream, rows in ((independent, 300), (autocorrelated, 5000)):
        values = stream(np.random.default_rng(3), 10_000 + rows)
        summary = summarise(PARAMS, columns(values[:, :10_000]))
        moved = columns(values[:, 10_000:]) | {"x1": values[1, 10_000:] + 0.5}
        found = look(summary, moved)
        assert [one.name for one in found.values() if one.is_drift] == ["x1"]
        assert found["x1"].effect > PARAMS.numbers
        assert "drifted by" in found["x1"].reason


def test_correlated_rows_are_worth_fewer():
    values = autocorrelated(np.random.default_rng(4), 11_000)
    summary = summarise(PARAMS, columns(values[:, :10_000]))
    found = look(summary, columns(values[:, 10_000:]))
    # AR(1) of 0.9: 19 rows are worth one for a mean, fewer for what is finer.
    assert 40 < found["x0"].effective_rows < 200
    assert summary.calibration.block >= 90


def test_independent_rows_are_worth_themselves_in_a_window_of_any_size():
    values = independent(np.random.default_rng(15), 10_000)
    calibration = summarise(PARAMS, columns(values)).calibration
    laws = [law for name, law in calibration.laws.items() if name.endswith("values")]
    by_size = np.array([law.alike for law in laws]).mean(axis=0)
    assert (by_size < 1.15).all(), by_size
    assert max(calibration.limits) / min(calibration.limits) < 1.5


def test_what_is_certain_but_too_small_to_matter_is_no_drift():
    random = np.random.default_rng(5)
    summary = summarise(PARAMS, {"x": random.normal(size=50_000)})
    found = look(summary, {"x": random.normal(size=50_000) + 0.07})["x"]
    assert found.statistic > 2 * found.threshold
    assert not found.is_drift
    assert "too little to matter" in found.reason


def test_nothing_has_changed_where_nothing_was_changed(summary):
    found = look(summary, mixed(np.random.default_rng(6), 1000))
    assert set(found) == {
        "age", "age missing", "plan", "plan new values", "plan missing", "key", "key new values",
        "key missing", "note length", "note missing", "note words", "note new words",
    }  # fmt: skip
    assert not [one.reason for one in found.values() if one.is_drift]


def test_each_kind_of_change_is_found_where_it_is(summary):
    random = np.random.default_rng(7)
    window = mixed(random, 1000)
    window["age"][:150] = np.nan
    window["plan"] = np.where(np.arange(1000) < 30, "gold", window["plan"])
    window["key"] = np.where(random.random(1000) < 0.2, "u1", window["key"])
    window["note"][:400] = "an utterly different vocabulary"
    drifted = {name for name, one in look(summary, window).items() if one.is_drift}
    assert drifted == {
        "age missing", "plan new values", "key", "note length", "note words", "note new words",
    }  # fmt: skip


def test_a_single_category_that_jumps_is_seen_among_many():
    random = np.random.default_rng(14)
    values = np.array([f"value {index}" for index in range(40)])
    summary = summarise(PARAMS, {"x": values[random.integers(0, 40, 10_000)]})
    rows = values[random.integers(0, 40, 1000)]
    assert not look(summary, {"x": rows})["x"].is_drift
    assert look(summary, {"x": np.where(random.random(1000) < 0.06, "value 7", rows)})["x"].is_drift


def test_a_reference_has_as_many_new_values_as_later_rows_have_of_it(summary):
    found = look(summary, mixed(np.random.default_rng(8), 1000))["key new values"]
    window = tally(summary, mixed(np.random.default_rng(8), 1000))
    new = window.counts["key"][-2] / 1000
    assert new > 0.04, "the tail is long"
    assert found.effect < 0.02


def test_a_window_that_is_too_small_is_not_judged(summary):
    found = look(summary, mixed(np.random.default_rng(9), 99))
    assert not any(one.is_enough for one in found.values())
    assert "not enough data" in found["age"].reason
    assert not compare(PARAMS, summary, tally(summary, mixed(np.random.default_rng(9), 0)))[
        0
    ].is_drift


def test_windows_add_up_and_any_two_can_be_compared(summary):
    rows = mixed(np.random.default_rng(10), 2000)
    first, second = (
        {name: values[half] for name, values in rows.items()}
        for half in (slice(0, 700), slice(700, None))
    )
    one, other = tally(summary, first), tally(summary, second)
    assert one + other == tally(summary, rows)
    assert not any(found.is_drift for found in compare(PARAMS, summary, one, other))
    moved = tally(summary, first | {"age": first["age"] + 1})
    assert [f.name for f in compare(PARAMS, summary, moved, other) if f.is_drift] == ["age"]


def test_a_summary_is_small_and_comes_back_from_json_as_it_was(summary):
    text = summary.model_dump_json()
    assert Summary.model_validate_json(text) == summary
    for name, one in json.loads(text)["cells"].items():
        own = json.dumps([one, json.loads(text)["counts"][name]])
        assert len(own) < (3000 if name in ("age", "plan") else 20_000), name


@pytest.mark.parametrize(
    "values",
    [
        np.full(2000, 3.0),
        np.full(2000, np.nan),
        np.arange(2000.0) * 1e38,
        np.where(np.arange(2000) % 10 > 1, 0.0, -np.arange(2000.0)),
        np.full(2000, ""),
        np.array(["", "words"] * 1000, dtype=object),
    ],
    ids=["constant", "missing", "huge", "mostly zero", "empty", "half empty prose"],
)
def test_odd_columns_are_no_error_and_no_drift(values):
    values = np.random.default_rng(13).permutation(values)
    summary = summarise(PARAMS, {"x": values})
    assert Summary.model_validate_json(summary.model_dump_json()) == summary
    for window in (values[:500], values[:0]):
        assert not any(one.is_drift for one in look(summary, {"x": window}).values())


def test_numbers_are_counted_as_they_are_placed():
    random = np.random.default_rng(11)
    for values in (
        random.normal(size=3000),
        random.normal(size=3000).astype(np.float32) * 1e-3 + 2026,
        np.exp(4 * random.normal(size=3000)),
        random.integers(-50, 50, size=3000).astype(float),
    ):
        cells = summarise(PARAMS, {"x": values}).cells["x"]
        placed = np.bincount(cells.place(values).cells, minlength=cells.size)
        assert cells.count(values).tolist() == placed.tolist()
        assert placed.max() < 0.2 * len(values)


def test_texts_are_counted_as_they_are_placed(summary, reference):
    cells = summary.cells["key"]
    later = mixed(np.random.default_rng(12), 1000)["key"]
    placed = np.bincount(cells.place(later).cells, minlength=cells.size)
    assert cells.count(later).tolist() == placed.tolist()
    assert cells.count(reference["key"])[-2] < summary.counts["key"][-2]


def test_a_reference_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="100 rows"):
        summarise(PARAMS, {"x": np.zeros(99)})


@pytest.mark.parametrize("rows", [150, 500])
def test_a_short_reference_seldom_alarms_and_sees_what_is_large(rows):
    single, windows = 0, 5
    for trial in range(5):
        values = independent(np.random.default_rng([16, trial]), rows + windows * 300)
        summary = summarise(PARAMS, columns(values[:, :rows]))
        parts = np.split(values[:, rows:], windows, axis=1)
        looks = [compare(PARAMS, summary, tally(summary, columns(part))) for part in parts]
        single += sum(any(one.is_drift for one in found) for found in looks)
        moved = columns(parts[0]) | {"x1": parts[0][1] + 1}
        assert look(summary, moved)["x1"].is_drift
    assert single <= 2, "of 25 windows"


def test_a_column_that_is_not_there_or_is_of_another_kind_is_not_compared(summary):
    rows = mixed(np.random.default_rng(17), 300)
    rows["age"] = rows["plan"]
    del rows["key"]
    window = tally(summary, rows)
    assert set(window.counts) == {"plan", "note"}
    assert {one.feature for one in compare(PARAMS, summary, window)} == {"plan", "note"}
    whole = tally(summary, mixed(np.random.default_rng(18), 300))
    assert set((window + whole).counts) == {"plan", "note"}
    assert (window + whole).rows == 600


def test_a_finding_says_what_it_counted(summary):
    rows = mixed(np.random.default_rng(19), 1000)
    rows["plan"] = np.full(1000, "gold")
    found = look(summary, rows)
    assert found["plan new values"].bins == ("new", "all others")
    assert found["plan new values"].current_shares == (1.0, 0.0)
    assert found["plan"].bins[:2] == ("basic", "plus")
    assert sum(found["age"].reference_shares) == pytest.approx(1, abs=1e-4)
    assert found["age"].bins[0].startswith("below ")
    for one in found.values():
        assert len(one.bins) == len(one.reference_shares) == len(one.current_shares)


def test_a_look_imports_no_scipy(summary, tmp_path):
    (tmp_path / "summary.json").write_text(summary.model_dump_json())
    code = (
        "import sys, pathlib, numpy as np\n"
        "from pipeline_tasks.detectors import block_bootstrap as d\n"
        "s = d.Summary.model_validate_json(pathlib.Path(sys.argv[1]).read_text())\n"
        "rows = dict(age=np.zeros(200, 'f4'), plan=np.full(200, 'plus'), key=np.full(200, 'u1'),\n"
        "            note=np.full(200, 'fox', dtype=object))\n"
        "assert d.compare(d.Params(), s, d.tally(s, rows))[0].is_drift\n"
        "print(sorted({'scipy', 'pandas', 'sklearn', 'tensorflow'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "summary.json")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_bench_ends_with_its_figures():
    command = [sys.executable, "-m", "bench.alarms", "--quick"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    rates = found["AR(1) 0.9, 1000 rows"]["false_alarms_percent_low_high_windows"]
    assert rates["ours"][0] < rates["p < 0.05"][0]
    assert found["errors, independent, EWMA chart"]["seen"] == 1
