"""What a client sends raw is corrected, filled, clipped and encoded inside the exported graph."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.core.store import read_json
from pipeline_tasks.data import learned, rows
from pipeline_tasks.data.checked import Checked, Chosen

NONE = np.zeros(0, dtype="int64")


class Prepared:
    """A frame's rows as `prepare` would have them, the first `train` of them for training."""

    def __init__(self, folder: Path, frame: pd.DataFrame, train: int, **changes: object) -> None:
        content = {
            "name": "raw",
            "source": {"kind": "csv", "path": "x.csv"},
            "label": {"name": "kind", "classes": [0, 1]},
            "model": {"kind": "mlp"},
        }
        frame = frame.assign(kind=np.arange(len(frame)) % 2.0)
        frame.to_parquet(folder / "rows.parquet", index=False)
        self.config = PipelineConfig.model_validate(content | changes)
        self.checked = Checked(folder, self.config)
        chosen = Chosen(np.arange(train), NONE)
        self.kept = learned.kept(self.checked, chosen)
        self.learned = json.loads(json.dumps(learned.learn(self.checked, self.kept)))

    def encode(self, **raw: object) -> dict[str, np.ndarray]:
        """Through a graph, as exported."""
        import tensorflow as tf

        from pipeline_tasks.learning import encoding

        specs = encoding.signature(self.config)

        @tf.function(input_signature=[specs])
        def graph(columns):
            return encoding.encode(columns, self.config, self.learned)

        tensors = {name: tf.constant(raw[name], spec.dtype) for name, spec in specs.items()}
        return {name: found.numpy() for name, found in graph(tensors).items()}


def numbers(values: list) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(values, dtype="float64")})


def texts(values: list, name: str = "x") -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype="str")})


@pytest.mark.parametrize(
    ("rules", "fill"),
    [
        ({}, 3.0),
        ({"missing": "median"}, 3.0),
        ({"missing": "mode"}, 1.0),
        ({"missing": "constant", "fill": -4}, -4.0),
        ({"missing": "drop"}, 3.0),
    ],
)
def test_a_missing_number_becomes_what_the_file_says(tmp_path, rules, fill):
    frame = numbers([1, 1, 3, 4, 5, math.nan, 900, 900])
    made = Prepared(tmp_path, frame, 6, columns={"x": {"type": "number"} | rules})
    assert len(made.kept) == (5 if rules.get("missing") == "drop" else 6)
    filled = np.array([1, 1, 3, 4, 5] + ([] if len(made.kept) == 5 else [fill]))
    found = made.encode(x=[math.nan, 5.0])["x"]
    expected = (np.array([fill, 5.0]) - filled.mean()) / filled.std()
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)


def test_an_indicator_tells_what_was_missing(tmp_path):
    for rules, width in [({"nullable": True}, 2), ({"indicator": True}, 2), ({}, 1)]:
        frame = numbers([1.0, 2.0, math.nan])
        made = Prepared(tmp_path, frame, 3, columns={"x": {"type": "number"} | rules})
        found = made.encode(x=[math.nan, 1.0])["x"]
        assert found.shape == (2, width)
        assert width == 1 or found[:, 1].tolist() == [1.0, 0.0]


def test_declared_corrections_reach_a_clients_values_too(tmp_path):
    made = Prepared(
        tmp_path,
        numbers([1, 2, -999, 3, 0.1]).assign(t=["?", "St. Gall", "st gall", "Bern", "Bern"]),
        5,
        columns={
            "x": {"type": "number", "replace": {-999: None, 0.1: 10}, "missing": "constant",
                  "fill": 0},
            "t": {"type": "category", "replace": {"?": None}, "indicator": True,
                  "correct": [{"pattern": r"(?i)^st\.? (\w+)", "with": r"Sankt \1"}]},
        },
    )  # fmt: skip
    assert sorted(made.learned["t"]["vocabulary"]) == ["Bern", "Sankt Gall", "Sankt gall"]
    raw = np.array([1, 2, 0, 3, 10.0])
    found = made.encode(x=[-999, 0.1], t=["?", "St Gall"])
    np.testing.assert_allclose(found["x"][:, 0], ([0, 10] - raw.mean()) / raw.std(), rtol=1e-5)
    place = made.learned["t"]["vocabulary"].index("Sankt Gall")
    assert found["t"][0].tolist() == [0, 0, 0, 1, 1]
    assert found["t"][1].argmax() == place
    assert found["t"][1].sum() == 1


@pytest.mark.parametrize(("missing", "place"), [({"missing": "mode"}, 0), ({}, 2)])
def test_missing_text_is_the_mode_or_a_place_of_its_own(tmp_path, missing, place):
    frame = texts(["b", "b", "a", None, None, None])
    made = Prepared(tmp_path, frame, 6, columns={"x": {"type": "category"} | missing})
    assert made.learned["x"]["vocabulary"] == ["b", "a"]
    assert made.encode(x=["", "never seen"])["x"].argmax(axis=1).tolist() == [place, 2]


@given(st.lists(st.text(max_size=5), min_size=1, max_size=30, unique=True), st.text(max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_text_is_found_in_a_vocabulary_at_its_place_or_not_at_all(vocabulary, other):
    import tensorflow as tf

    from pipeline_tasks.data import vocabulary as lookup

    asked = [*vocabulary, other]
    found = lookup.index(tf.constant(asked), vocabulary).numpy().tolist()
    expected = [vocabulary.index(text) if text in vocabulary else len(vocabulary) for text in asked]
    assert found == expected


def test_outliers_are_clipped_in_the_graph_at_what_training_rows_showed(tmp_path):
    values = [*map(float, range(100)), 1e9]
    rule = {"kind": "clip", "low": 0.05, "high": 0.95}
    made = Prepared(
        tmp_path, numbers(values), 100, columns={"x": {"type": "number", "outliers": rule}}
    )
    low, high = np.quantile(values[:100], [0.05, 0.95])
    found = made.encode(x=[-1e9, 1e9, low, high])["x"][:, 0]
    assert found[0] == found[2]
    assert found[1] == found[3]
    clipped = np.clip(values[:100], low, high)
    np.testing.assert_allclose(found[1], (high - clipped.mean()) / clipped.std(), rtol=1e-5)


def test_tukeys_fences_clip_or_drop(tmp_path):
    frame = numbers([*map(float, range(20)), 1000.0])
    for rows_, kept in (("clip", 21), ("drop", 20)):
        rules = {"type": "number", "outliers": {"kind": "iqr", "rows": rows_}}
        made = Prepared(tmp_path, frame, 21, columns={"x": rules})
        assert len(made.kept) == kept
        near, far = made.encode(x=[40.0, 1000.0])["x"][:, 0]
        assert (near == far) == (rows_ == "clip")


def test_noisy_training_rows_are_left_out_and_a_client_is_answered_all_the_same(tmp_path):
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(300, 2)), columns=["x", "y"])
    frame.loc[:4] += 30
    columns = {"x": {"type": "number"}, "y": {"type": "number"}}
    rule = {"kind": "isolation_forest", "share": 5 / 300}
    made = Prepared(tmp_path, frame, 300, columns=columns, preparation={"outliers": rule})
    assert made.kept.source.tolist() == list(range(5, 300))
    assert made.learned["x"]["mean"] == pytest.approx(frame["x"][5:].mean())
    assert made.encode(x=[30.0], y=[30.0])["x"] > 10


def test_all_numbers_together_may_be_clipped(tmp_path):
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(300, 2)) * [1, 50], columns=["x", "y"])
    columns = {"x": {"type": "number"}, "y": {"type": "number"}}
    made = Prepared(
        tmp_path, frame, 300, columns=columns, preparation={"outliers": {"kind": "clip"}}
    )
    found = made.encode(x=[1e6, 1e7], y=[-1e6, -1e7])
    assert found["x"][0] == found["x"][1] < 4
    assert found["y"][0] == found["y"][1] > -4


def test_features_of_numbers_see_what_the_model_would(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 4.0, math.nan, 9.0], "b": [2.0, 0.0, 4.0, 3.0]})
    made = Prepared(
        tmp_path,
        frame,
        4,
        columns={"a": {"type": "number"}, "b": {"type": "number"}},
        preparation={
            "features": {
                "share": {"kind": "ratio", "of": ["a", "b"]},
                "gap": {"kind": "difference", "of": ["a", "b"]},
            }
        },
    )
    ratios, gaps = np.array([0.5, 0, 1.0, 3.0]), np.array([-1.0, 4.0, 0.0, 6.0])
    found = made.encode(a=[1.0, math.nan, 500.0, 1.0], b=[2.0, 4.0, 1.0, 0.0])
    expected = (np.array([0.5, 1.0, 3.0, 0.0]) - ratios.mean()) / ratios.std()
    np.testing.assert_allclose(found["share"][:, 0], expected, rtol=1e-5, atol=1e-6)
    expected = (np.array([-1.0, 0.0, 499.0, 1.0]) - gaps.mean()) / gaps.std()
    np.testing.assert_allclose(found["gap"][:, 0], expected, rtol=1e-5, atol=1e-6)


def test_crossed_categories_have_a_place_for_each_combination(tmp_path):
    frame = texts(["a", "a", "b", "b"], "p").join(texts(["x", "x", "x", "y"], "q"))
    columns = {"p": {"type": "category"}, "q": {"type": "category"}}
    features = {
        "both": {"kind": "cross", "of": ["p", "q"]},
        "hashed": {"kind": "cross", "of": ["p", "q"], "buckets": 8},
    }
    made = Prepared(tmp_path, frame, 4, columns=columns, preparation={"features": features})
    found = made.encode(p=["a", "b", "a"], q=["x", "y", "y"])
    assert found["both"].argmax(axis=1).tolist() == [0, 2, 3]
    assert found["hashed"].shape == (3, 8)
    assert found["hashed"].sum(axis=1).tolist() == [1, 1, 1]


@given(st.dates(datetime.date(1583, 1, 1), datetime.date(9999, 12, 31)), st.integers(0, 23))
@settings(max_examples=100, deadline=None)
def test_parts_of_a_date_are_those_of_the_calendar(day, hour):
    import tensorflow as tf

    from pipeline_tasks.transforms import date_parts

    params = date_parts.Params(of=("x",))
    texts = tf.constant([f"{day.isoformat()}T{hour:02}:30:00Z", day.isoformat(), "yesterday", ""])
    found = date_parts.apply(params, {"year": {"mean": 0.0, "scale": 1.0}}, [texts]).numpy()

    def scaled(value: int, first: int, last: int) -> float:
        every = np.arange(first, last + 1)
        return (value - every.mean()) / every.std()

    parts = [day.year, scaled(day.month, 1, 12), scaled(day.day, 1, 31)]
    parts += [scaled(day.weekday(), 0, 6), scaled(hour, 0, 23), 0]
    np.testing.assert_allclose(found[0], parts, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1][:4], parts[:4], rtol=1e-5, atol=1e-6)
    assert found[1][4] == pytest.approx(scaled(0, 0, 23))
    assert found[2:, 5].tolist() == [1, 1]


def test_a_date_that_goes_round_ends_where_it_starts(tmp_path):
    frame = texts(["2025-12-31", "2026-01-01", "2027-06-15"])
    feature = {"kind": "date_parts", "of": ["x"], "parts": ["year", "month"], "cyclic": True}
    made = Prepared(
        tmp_path,
        frame,
        3,
        columns={"x": {"type": "date"}},
        preparation={"features": {"m": feature}},
    )
    assert made.learned["_features"]["m"]["year"]["mean"] == 2026
    december, january, june = made.encode(x=["2025-12-31", "2026-01-01", "2027-06-15"])["m"][:, 1:3]
    assert np.linalg.norm(december - january) < np.linalg.norm(december - june)


REVIEWS = [
    "A good, GOOD film; really good!",
    "Not a good film. Not at all...",
    "Größe zählt nicht — über 100 Seiten, c'est ça",
    "",
    "naïve   words\twith\nblanks",
]


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_the_words_learned_in_training_are_those_the_graph_finds(tmp_path, ngrams):
    import pyarrow as pa
    import tensorflow as tf

    from pipeline_tasks.transforms import words

    texts_ = REVIEWS * 3
    params = words.Params(of=("x",), vocabulary=10_000, ngrams=ngrams, weight="binary")
    known = words.learn(params, [pa.array(texts_, pa.large_string())])
    expected = [set(found) for found in words._words(tf.constant(texts_), ngrams).to_list()]
    every = {word.decode() for found in expected for word in found}
    assert set(known["vocabulary"]) == every
    found = words.apply(params, known, [tf.constant(texts_)]).numpy()
    for row, wanted in zip(found, expected, strict=True):
        on = {known["vocabulary"][place].encode() for place in np.flatnonzero(row)}
        assert on == wanted


def test_a_text_column_is_weighted_words_and_its_length_a_feature(tmp_path):
    made = Prepared(
        tmp_path,
        texts(REVIEWS),
        5,
        columns={"x": {"type": "text", "vocabulary": 7, "nullable": True}},
        preparation={"features": {"length": {"kind": "length", "of": ["x"]}}},
    )
    assert made.learned["x"]["vocabulary"][:3] == ["a", "film", "good"]
    found = made.encode(x=["good good film", ""])
    raw = np.zeros(7)
    telling = np.array(made.learned["x"]["telling"])
    assert telling[2] == pytest.approx(math.log(6 / 3) + 1)
    raw[1], raw[2] = telling[1], (1 + math.log(2)) * telling[2]
    np.testing.assert_allclose(found["x"][0], raw / np.linalg.norm(raw), rtol=1e-5)
    assert found["x"][1].tolist() == [0] * 7
    counts = np.log1p([[len(text), len(text.split())] for text in REVIEWS])
    expected = (np.log1p([14, 3]) - counts.mean(axis=0)) / counts.std(axis=0)
    np.testing.assert_allclose(found["length"][0], expected, rtol=1e-5)


def test_raw_text_dates_and_missing_values_go_all_the_way_to_the_exported_model(small):
    made = small(
        columns={
            "width": {"type": "number", "outliers": {"kind": "clip"}},
            "height": {"type": "number", "nullable": True, "missing": "mode"},
            "colour": {"type": "text", "nullable": True},
            "day": {"type": "date", "nullable": True},
        },
        preparation={"features": {"area": {"kind": "ratio", "of": ["width", "height"]}}},
    )
    lines = made.csv.read_text().splitlines()
    made.csv.write_text(
        "\n".join(
            [lines[0] + ",day"]
            + [f"{line},2026-01-{1 + n % 28:02}" if n % 5 else f"{line}," for n, line in
               enumerate(lines[1:])]
        )
    )  # fmt: skip
    left = made.steps()
    assert left["verify"].summary["largest_difference"] <= 1e-5
    prepared = made.run().open(left["prepare"])
    found = read_json(prepared / "preprocessing.json")
    assert set(found["colour"]["vocabulary"]) == {"red", "green", "blue"}
    arrays = rows.read_arrays(prepared / "test.npz")
    assert arrays["colour"].dtype == object
    assert "" in arrays["day"]

    from pipeline_tasks.learning import answering

    _, answer = answering.exported(made.run().open(left["export"]))
    import tensorflow as tf

    raw = {"width": [1.0], "height": [math.nan], "colour": [""], "day": ["no date"]}
    answered = answer(**{name: tf.constant(values) for name, values in raw.items()})
    assert np.isfinite(answered["probabilities"].numpy()).all()


def test_what_was_learned_does_not_depend_on_rows_that_are_not_trained_on(small):
    found = []
    for height in ("0.5", "1.5"):
        made = small(
            columns={
                "width": {"type": "number", "outliers": {"kind": "iqr"}},
                "height": {"type": "number", "nullable": True},
                "colour": {"type": "category"},
            },
            split={"by": "time"},
        )
        lines = made.csv.read_text().splitlines()
        changed = [",".join(["9", height, "pink", line[-1]]) for line in lines[300:]]
        made.csv.write_text("\n".join(lines[:300] + changed))
        left = made.steps(f"run{height}", until="prepare")
        content = read_json(made.run().open(left["prepare"]) / "preprocessing.json")
        found.append({name: content[name] for name in ("width", "height")})
    assert found[0] == found[1]


def test_a_changed_feature_is_noticed_by_later_steps(small):
    feature = {"kind": "cross", "of": ["colour", "colour"], "buckets": 4}
    first = small(preparation={"features": {"f": feature}}).steps("first", until="train")
    made = small(preparation={"features": {"f": feature | {"buckets": 5}}})
    second = made.steps("second", until="train")
    assert second["ingest"].reused
    assert not second["train"].reused
    assert first["prepare"].digest != second["prepare"].digest


def test_a_correction_that_cannot_be_done_names_the_expression(tmp_path):
    rules = {"type": "category", "correct": [{"pattern": "a(?=b)", "with": "c"}]}
    with pytest.raises(ConfigError, match="look-ahead"):
        Prepared(tmp_path, texts(["ab", "b"]), 2, columns={"x": rules})


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"kind": "ratio", "of": ["width", "depth"]}, "is made of 'depth'"),
        ({"kind": "ratio", "of": ["width", "colour"]}, "of type number"),
        ({"kind": "iqr"}, "makes no feature"),
        ({"kind": "square", "of": ["width"]}, "no transforms part is called 'square'"),
    ],
)
def test_a_feature_that_cannot_be_made_is_refused_with_the_pipeline_file(small, feature, message):
    with pytest.raises(ConfigError, match=message):
        small(preparation={"features": {"f": feature}}).run()
