"""Optimised exports: made, measured against the trained model, served, or refused with figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline_tasks import config
from pipeline_tasks.core.errors import ArtifactError, ConfigError
from pipeline_tasks.learning import converting
from pipeline_tasks.release import golden
from pipeline_tasks.sections import variants
from pipeline_tasks.serving.inprocess import loaded
from pipeline_tasks.serving.versions.model import load
from tests.small import Small, write_small

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 0.03, "patience": 0}
NUMBERS = {"width": {"type": "number"}, "height": {"type": "number", "nullable": True}}


def made(folder: Path, **changes: object) -> Small:
    return write_small(folder, **({"training": TRAINING} | changes))


def exported(small: Small, **changes: object) -> Path:
    return small.run(**changes).open(small.steps(until="export", **changes)["export"])


def report(folder: Path) -> dict[str, variants.Variant]:
    found = variants.read(folder)
    assert found is not None
    return {one.kind: one for one in found.tried}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A model with a category among its inputs, compiled by XLA."""
    settings = {"variants": ["litert", "onnx", "xla"], "serve": "xla"}
    return exported(made(tmp_path_factory.mktemp("mixed"), export=settings))


def test_a_graph_that_refuses_rows_is_left_to_tensorflow(tmp_path):
    path = "tests.deployment.bad_models.fails_far_away"
    folder = exported(made(tmp_path, model={"kind": "keras_function", "path": path}))
    assert "refuses some rows (Assert)" in report(folder)["litert"].refused
    assert variants.served(folder) == "tensorflow"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A model of numbers alone, in every size; the smallest one answers."""
    settings = {"variants": ["litert", "float16", "int8", "onnx"], "serve": "int8"}
    settings |= {"tolerance": 0.5}
    folder = tmp_path_factory.mktemp("numbers")
    model = {"kind": "mlp", "hidden": [64, 64]}
    return exported(made(folder, columns=NUMBERS, model=model, export=settings))


def answered(folder: Path, count: int) -> None:
    """The server answers the first golden questions as it should."""
    instances, expected = golden.questions(folder)
    body = json.dumps({"instances": instances[:count]}).encode()
    with loaded(folder, "small") as ask:
        status, answer = ask(body)
    assert status == 200
    golden.compare(expected[:count], json.loads(answer)["predictions"], who="the server")


def test_every_variant_has_its_figures_and_the_exact_ones_agree_within_1e_5(mixed, numbers):
    tried = {**report(mixed), **report(numbers)}
    assert list(tried) == ["tensorflow", "litert", "onnx", "xla", "float16", "int8"]
    for one in tried.values():
        assert not one.refused
        assert one.bytes > 1000
        assert one.ms_per_request > 0
        assert one.ms_per_32_rows > 0
        if one.kind not in ("float16", "int8"):
            assert one.largest_difference <= 1e-5
            assert one.same_labels == 1


def test_the_compiled_signature_is_served_and_answers_any_number_of_rows(mixed):
    for count in (1, 3, 16):
        answered(mixed, count)
    assert load(mixed, name="small", version=1).backend == "xla"
    plain = load(mixed, name="small", version=1, backend="tensorflow")
    assert list(plain.signatures) == ["serving_default"]


def test_the_onnx_file_takes_and_gives_what_the_signature_does(numbers):
    plain = load(numbers, name="small", version=1, backend="tensorflow")
    call = converting.onnx_call(numbers / "variants" / "model.onnx")
    rows = {"width": np.array([0.5, -2], "f"), "height": np.array([np.nan, 1], "f")}
    found, wanted = call(rows), plain.signatures["serving_default"].call(rows)
    assert found["label"].tolist() == wanted["label"].tolist()
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-5)


def test_smaller_weights_are_served_where_the_file_says_so(numbers):
    found = report(numbers)
    assert found["int8"].bytes < found["litert"].bytes
    assert found["float16"].largest_difference > found["litert"].largest_difference
    assert load(numbers, name="small", version=1).backend == "int8"
    assert load(numbers, name="small", version=1, backend="litert").backend == "int8"
    answered(numbers, 16)


def test_a_variant_that_cannot_be_made_is_left_out_with_its_reason(mixed):
    one = report(mixed)["onnx"]
    assert one.refused.startswith("not made: ")
    assert one.largest_difference is None
    assert not (mixed / "variants" / "model.onnx").exists()


@pytest.fixture(scope="module")
def lossy(tmp_path_factory):
    """Numbers that need more than eight bits: seven digits before the point matter."""
    folder = tmp_path_factory.mktemp("lossy")
    label = {"name": "height", "type": "number"}
    settings = {"variants": ["litert", "int8"], "tolerance": 1e-6}
    columns = {"width": {"type": "number"}, "kind": {"type": "number"}}
    small = made(folder, columns=columns, label=label, export=settings)
    small.csv.write_text(small.csv.read_text().replace(",,", ",0,"))
    return small


def test_a_variant_that_loses_too_much_is_left_out_with_the_figures(lossy):
    folder = exported(lossy)
    one = report(folder)["int8"]
    assert "largest difference from the trained model is" in one.refused
    assert "more than the tolerance 1e-06" in one.refused
    assert not (folder / "variants" / "int8.tflite").exists()
    assert load(folder, name="small", version=1).backend == "litert"


def test_a_variant_that_loses_too_much_is_an_error_when_it_is_to_be_served(lossy):
    content = yaml.safe_load(lossy.yaml.read_text())
    content["export"]["serve"] = "int8"
    lossy.yaml.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="int8 is to be served, but its largest difference"):
        lossy.steps("again", until="export")


def test_texts_that_litert_cannot_look_at_are_answered_by_tensorflow_and_the_log_says_why(
    tmp_path, caplog
):
    columns = NUMBERS | {"colour": {"type": "text", "vocabulary": 5}}
    with caplog.at_level("INFO"):
        folder = exported(made(tmp_path, columns=columns))
    assert "not made: there is no built-in operation for" in report(folder)["litert"].refused
    assert report(folder)["litert"].refused in caplog.text
    assert load(folder, name="small", version=1).backend == "tensorflow"
    answered(folder, 16)


def test_the_model_card_shows_the_variants(tmp_path):
    small = made(tmp_path, columns=NUMBERS)
    card = (small.run().open(small.steps()["deploy"]) / "card.md").read_text()
    section = card.split("## Exported variants")[1].split("## ")[0]
    assert "| tensorflow |" in section
    assert "| litert, served |" in section
    assert "100.00% the same" in section


def test_what_is_to_be_served_must_be_made(tmp_path):
    small = made(tmp_path, export={"variants": ["litert"], "serve": "float16"})
    with pytest.raises(ConfigError, match="`serve: float16` needs float16 among `variants`"):
        config.load(small.yaml)


def test_a_report_that_is_none_fails_the_load(tmp_path):
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "variants.json").write_text("{}")
    with pytest.raises(ArtifactError, match="cannot be read"):
        variants.read(tmp_path)
    assert variants.read(tmp_path / "elsewhere") is None
