"""Parts merge into the whole, however the rows were divided."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_tasks.data import statistics
from pipeline_tasks.data.statistics import Bins, Numbers, Statistics, Texts

NUMBERS = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.integers(-5, 5).map(float)),
    max_size=60,
)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "ccc", ""])), max_size=60)


@given(NUMBERS, st.lists(st.integers(0, 60), max_size=5))
def test_merged_numbers_are_those_of_all_together(values, cuts):
    array = np.array(values, dtype="float64")
    whole = Numbers.of(array)
    merged = Numbers()
    for part in np.split(array, sorted(min(cut, len(array)) for cut in cuts)):
        merged = merged.merge(Numbers.of(part))
    assert (merged.count, merged.missing) == (whole.count, whole.missing)
    assert (merged.minimum, merged.maximum) == (whole.minimum, whole.maximum)
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert merged.variance == pytest.approx(whole.variance, rel=1e-9, abs=1e-3)
    if whole.bins is not None:
        np.testing.assert_array_equal(merged.bins.places, whole.bins.places)
        np.testing.assert_array_equal(merged.bins.counts, whole.bins.counts)


@given(st.lists(st.integers(0, 255), max_size=60))
def test_bytes_are_numbers(values):
    array = np.array(values, dtype=np.uint8)
    mine, theirs = Numbers.of(array).as_json(), Numbers.of(array.astype("float64")).as_json()
    assert mine.pop("quantiles", None) == theirs.pop("quantiles", None)
    assert mine == pytest.approx(theirs)


def test_a_small_variance_beside_a_large_mean_survives_merging():
    values = 1e9 + np.random.default_rng(1).normal(size=10_000)
    merged = Numbers()
    for part in np.array_split(values, 37):
        merged = merged.merge(Numbers.of(part))
    assert merged.variance == pytest.approx(values.var(), rel=1e-6)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300), st.floats(0.001, 1))
def test_a_quantile_is_off_by_less_than_two_hundredths_of_itself(values, share):
    array = np.array(values)
    exact = float(np.quantile(array, share, method="inverted_cdf"))
    assert Bins.of(array).quantile(share) == pytest.approx(exact, rel=0.017, abs=1e-300)


@given(TEXTS, st.integers(0, 60))
def test_merged_texts_are_those_of_all_together(values, cut):
    series = pd.Series(values, dtype="str")
    whole = Texts.of(series)
    merged = Texts.of(series[:cut]).merge(Texts.of(series[cut:]))
    assert merged.counts == whole.counts
    assert merged.missing == whole.missing
    assert list(merged.as_json()["top"].items()) == list(whole.as_json()["top"].items())
    assert merged.characters.mean == pytest.approx(whole.characters.mean)
    assert merged.characters.variance == pytest.approx(whole.characters.variance)


def test_too_many_different_texts_keep_the_frequent_ones_and_say_how_unsure_they_are(monkeypatch):
    monkeypatch.setattr(statistics, "DIFFERENT", 10)
    random = np.random.default_rng(1)
    texts = np.concatenate([np.repeat("often", 500), random.integers(0, 400, 1000).astype(str)])
    series = pd.Series(random.permutation(texts), dtype="str")
    merged = Texts()
    for start in range(0, len(series), 150):
        merged = merged.merge(Texts.of(series[start : start + 150]))
    found = merged.as_json()
    assert merged.count == 1500
    assert len(merged.counts) <= 10
    assert found["different"] is None
    assert next(iter(found["top"])) == "often"
    assert 500 - merged.unsure <= found["top"]["often"] <= 500


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 500))
def test_slices_of_a_frame_give_the_same_as_the_whole(size):
    config = _config()
    random = np.random.default_rng(2)
    frame = pd.DataFrame({f"scan[{index}]": random.random(500) for index in range(4)})
    frame["colour"] = pd.Series(random.choice(["red", "blue"], 500), dtype="str")
    frame["kind"] = random.integers(0, 2, 500).astype("float64")
    parts = [Statistics.of(part, config) for part in statistics.slices(frame, size)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    whole = Statistics.of(frame, config)
    pixels = frame[[f"scan[{index}]" for index in range(4)]].to_numpy()
    assert merged.columns["scan"].mean == pytest.approx(pixels.mean())
    assert merged.columns["scan"].variance == pytest.approx(pixels.var())
    assert merged.columns["colour"].counts == whole.columns["colour"].counts
    assert merged.as_json()["scan"]["quantiles"] == whole.as_json()["scan"]["quantiles"]


def _config():
    from pipeline_tasks.config import PipelineConfig

    return PipelineConfig.model_validate(
        {
            "name": "scans",
            "source": {"kind": "csv", "path": "x.csv"},
            "columns": {
                "scan": {"type": "image", "shape": [2, 2]},
                "colour": {"type": "category"},
            },
            "label": {"name": "kind", "classes": [0, 1]},
            "model": {"kind": "mlp"},
        }
    )
