"""The model card says what a version is for, made of and good at, and where not to trust it."""

from __future__ import annotations

import json
import re

import pytest

from pipeline_tasks.validation import card, limits

SECTIONS = [
    "What it is for",
    "Data",
    "Quality on",
    "Why it was promoted",
    "Training",
    "Columns that matter",
    "Lineage",
    "Known limits",
]


def card_of(done) -> str:
    return (done.run.open(done.left["deploy"]) / card.FILE).read_text()


@pytest.mark.parametrize("which", ["classes", "numbers"])
def test_a_promoted_version_has_a_card_with_every_section(which, request):
    done = request.getfixturevalue(which)
    text = card_of(done)
    assert text.startswith(f"# {done.run.config.name}, version 1\n")
    found = re.findall(r"^## (.*)$", text, re.MULTILINE)
    for title in SECTIONS:
        assert any(one.startswith(title) for one in found), title
    assert done.run.config.description in text


def test_the_card_traces_the_version_to_its_source(classes):
    text = card_of(classes)
    for name in ("ingest", "check", "prepare", "train", "evaluate", "export", "verify", "gate"):
        assert classes.left[name].digest in text, name
    assert card.schema_digest(classes.run.config) in text
    assert "- source: csv" in text
    rows = classes.left["prepare"].summary
    assert f"train {rows['train']}, validation {rows['validation']}, test {rows['test']}" in text
    assert "- seed: 7" in text
    assert '"hidden": [8]' in text


def test_the_card_has_each_metric_with_its_interval_beside_the_naive_one(classes):
    text = card_of(classes)
    low, high = classes.test["intervals"]["candidate"]["accuracy"]
    value, naive = (classes.test[who]["accuracy"] for who in ("candidate", "baseline"))
    assert f"| accuracy | {value:.4g} | {low:.4g} to {high:.4g} | - | {naive:.4g} |" in text
    for one in classes.test["slices"]:
        assert f"| {one['column']} {one['value']} | {one['rows']} | accuracy |" in text


def test_the_card_of_a_second_version_has_the_first_beside_it(small):
    made = small()
    made.steps("first")
    text = made.yaml.read_text()
    made.yaml.write_text(text.replace("epochs: 5", "epochs: 6") + "promotion: {margin: 1}\n")
    left = made.steps("second")
    report = json.loads((made.run().open(left["evaluate"]) / "evaluation.json").read_text())
    champion = report["splits"]["test"]["champion"]["accuracy"]
    found = (made.run().open(left["deploy"]) / card.FILE).read_text()
    assert found.startswith("# small, version 2\n")
    assert "| metric | this version | 95 % interval | version 1 | naive |" in found
    assert f"| {champion:.4g} |" in found
    assert "it may be worse by 1" in found


def test_schemas_that_differ_have_digests_that_differ(small):
    made = small()
    before = card.schema_digest(made.run().config)
    assert card.schema_digest(made.run("other").config) == before
    made.yaml.write_text(made.yaml.read_text().replace("max: 10", "max: 11"))
    assert card.schema_digest(made.run().config) != before


def test_limits_name_what_is_small_weak_unfit_and_sensitive(classes):
    report = json.loads(json.dumps(classes.report))
    test = report["splits"]["test"]
    test["slices"][0]["rows"], test["by_class"][1]["rows"] = 3, 4
    test["slices"][1]["rows"], test["slices"][1]["candidate"]["accuracy"] = 40, 0.125
    report["diagnosis"] = {"fit": "overfit", "findings": ["by heart"], "hints": ["more data"]}
    text = "\n".join(limits.known(classes.run.config, report))
    first, second = ("{column} {value}".format(**one) for one in test["slices"][:2])
    assert f"{first} (3)" in text
    assert "classes with fewer than 30 test rows" in text
    assert "1 (4)" in text
    assert f"weakest in the slice {second}: accuracy 0.125 on 40 rows" in text
    assert "overfit: by heart" in text
    assert "what may help: more data" in text
    assert f"most sensitive to drift in {next(iter(report['importance']))}" in text
