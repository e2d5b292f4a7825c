"""A pipeline file says what it may say, and every mistake in it is reported at once."""

from __future__ import annotations

import pytest

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError
from tests.small import THREE_MISTAKES


def test_three_mistakes_are_three_lines_with_place_and_fix(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(THREE_MISTAKES)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    message = str(caught.value)
    assert "3 mistakes" in message
    assert "broken.yaml:1: source.kind: no sources part is called 'cvs'" in message
    assert "add pipeline_tasks/sources/cvs.py" in message
    assert "broken.yaml:7: model.dropout: Input should be less than 1 (found 1.5)" in message
    assert "broken.yaml:9: training.epochs: Input should be a valid integer" in message


def test_an_unknown_key_and_a_missing_one_are_named(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(THREE_MISTAKES.replace("label:", "lable:"))
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert "broken.yaml:4: lable: no such key here" in str(caught.value)
    assert "label: this key is required" in str(caught.value)


@pytest.mark.parametrize("content", ["", "- 1", "a: [", "\x00"])
def test_a_file_without_settings_is_a_config_error(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        config.load(path)


def test_every_pipeline_that_ships_is_valid():
    assert [config.load(path).name for path in config.files()]


def test_an_unknown_pipeline_is_answered_with_the_known_names():
    with pytest.raises(ConfigError, match="digits"):
        config.named("digit")


def test_training_parameters_from_the_form_are_checked_like_those_in_the_file(small):
    pipeline = small().run().config
    assert pipeline.with_training(epochs=2).training.epochs == 2
    with pytest.raises(ValueError, match="epochs"):
        pipeline.with_training(epochs=0)


def test_a_pipeline_survives_the_way_through_json(small):
    pipeline = small().run().config
    content = pipeline.model_dump(mode="json", by_alias=True)
    assert config.PipelineConfig.model_validate(content) == pipeline


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"kind": "cnn"}}, "model kind cnn needs a column of type image"),
        (
            {"preparation": {"augmentation": {"shift": 0.1}}},
            "preparation.augmentation varies images, and no column is of type image",
        ),
        (
            {
                "label": {"name": "y", "type": "number"},
                "preparation": {"balance": {"kind": "oversample"}},
            },
            "preparation.balance is of classes, and the label is a number",
        ),
    ],
)
def test_what_could_do_nothing_is_a_mistake(small, changes, said):
    with pytest.raises(ConfigError, match=said):
        config.load(small(**changes).yaml)


def test_a_wrong_metric_and_one_for_another_task_are_reported_at_once(small):
    with pytest.raises(ConfigError) as caught:
        small(
            label={"name": "kind", "type": "number"},
            metrics=["rmse", "f2", "accuracy"],
            promotion={"metric": "rmse"},
            training={"epochs": 0},
        ).run()
    text = str(caught.value)
    assert "3 mistakes" in text
    assert "metrics.1.kind: no metrics part is called 'f2'" in text
    assert "metrics.2: accuracy needs labels" in text
    assert "training.epochs" in text
