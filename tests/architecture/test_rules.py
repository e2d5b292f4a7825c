"""The design's rules that no other tool checks."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from pipeline_tasks import sources
from pipeline_tasks.core import registry

PROJECT = Path(__file__).parents[2]
CODE = [PROJECT / name for name in ("dags", "pipeline_tasks", "plugins", "local", "bench")]
HEAVY = {"tensorflow", "keras", "pandas", "numpy", "sklearn", "scipy", "matplotlib", "pandera"}
MODULE_LINES, DAG_LINES, README_LINES = 300, 150, 200


def modules(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def short(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", modules(*CODE), ids=short)
def test_a_module_is_short(path):
    limit = DAG_LINES if path.parent == PROJECT / "dags" else MODULE_LINES
    assert len(path.read_text().splitlines()) <= limit


def test_functions_are_short():
    sizes = [
        (node.end_lineno or 0) - node.body[0].lineno + 1
        for path in modules(PROJECT / "pipeline_tasks", PROJECT / "plugins")
        for node in functions(path)
    ]
    assert statistics.median(sizes) <= 10
    assert sum(size <= 30 for size in sizes) / len(sizes) >= 0.9


@pytest.mark.parametrize("path", modules(PROJECT / "dags", PROJECT / "plugins"), ids=short)
def test_dags_and_plugins_import_nothing_heavy_anywhere(path):
    assert not HEAVY & {name.split(".")[0] for name in imported(ast.walk(parsed(path)))}


@pytest.mark.parametrize("path", modules(PROJECT / "pipeline_tasks"), ids=short)
def test_a_heavy_library_is_imported_where_it_is_used(path):
    if "serving" in path.parts:
        pytest.skip("the server is its own process")
    assert not HEAVY & {name.split(".")[0] for name in imported(iter(parsed(path).body))}


@pytest.mark.parametrize("path", modules(PROJECT / "pipeline_tasks"), ids=short)
def test_what_a_pipeline_does_never_imports_airflow(path):
    assert "airflow" not in {name.split(".")[0] for name in imported(ast.walk(parsed(path)))}


@pytest.mark.parametrize("path", modules(*CODE, PROJECT / "tests"), ids=short)
def test_airflow_is_imported_from_where_version_3_has_it(path):
    old = {"airflow.models", "airflow.operators", "airflow.decorators", "airflow.utils.dates"}
    found = imported(ast.walk(parsed(path)))
    assert not [name for name in found if name == "airflow" or name.startswith(tuple(old))]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_no_folder_is_called_after_nothing():
    empty_names = {"utils", "helpers", "common", "base", "misc"}
    found = {part for path in modules(*CODE, PROJECT / "tests") for part in path.parts}
    assert not empty_names & {name.removesuffix(".py") for name in found}


def test_every_step_is_a_file_with_a_function_of_its_name():
    for path in modules(PROJECT / "pipeline_tasks" / "steps"):
        if path.stem == "__init__":
            continue
        step = getattr(import_module(f"pipeline_tasks.steps.{path.stem}"), path.stem)
        assert step.__doc__, path.stem


CONTRACTS = {
    "sources": ("Params", "digest", "fetch", "read", "place"),
    "storages": ("Params", "keep", "read"),
    "models": ("Params", "build"),
    "metrics": ("compute",),
    "transforms": ("Params", "learn"),
    "detectors": ("Params", "Summary", "Window", "summarise", "tally", "compare"),
    "targets": (
        "Params",
        "UNWATCHED",
        "folder",
        "check_ready",
        "serve",
        "rehearse",
        "confirm",
        "counters",
    ),
    "notifiers": ("Params", "notify"),
}


def parts() -> list[tuple[str, str]]:
    return [
        (folder, path.stem)
        for folder in CONTRACTS
        for path in sorted((PROJECT / "pipeline_tasks" / folder).glob("*.py"))
        if path.stem != "__init__"
    ]


@pytest.mark.parametrize(("folder", "name"), parts())
def test_a_part_offers_what_its_folder_promises(folder, name):
    part = import_module(f"pipeline_tasks.{folder}.{name}")
    for promise in CONTRACTS[folder]:
        assert hasattr(part, promise), f"pipeline_tasks/{folder}/{name}.py lacks {promise}"
    assert part.__doc__
    params = getattr(part, "Params", None)
    if params:
        assert params.model_config["frozen"]
        assert params.model_config["extra"] == "forbid"


SHOWN = ("sources", "models", "transforms", "detectors", "targets", "notifiers")


@pytest.mark.parametrize(("folder", "name"), [one for one in parts() if one[0] in SHOWN])
def test_a_part_shows_an_example_that_a_pipeline_file_may_have(folder, name):
    text = import_module(f"pipeline_tasks.{folder}.{name}").Params.__doc__
    example = yaml.safe_load(dedent(text.partition("\n\n")[2] or text))
    [settings, *_] = of_kind(name, example)
    registry.params(folder, name, settings)


def of_kind(name, found):
    """The settings of each part of this kind in what an example says."""
    if isinstance(found, dict) and found.get("kind") == name:
        yield {key: value for key, value in found.items() if key != "kind"}
    if isinstance(found, dict | list):
        for value in found.values() if isinstance(found, dict) else found:
            yield from of_kind(name, value)


@pytest.mark.parametrize(("folder", "name"), parts())
def test_a_part_that_tries_again_is_told_so_by_the_same_settings_as_the_others(folder, name):
    params = getattr(registry.part(folder, name), "Params", None)
    tries_again = params is not None and {"attempts", "backoff_seconds"} & set(params.model_fields)
    assert not tries_again or issubclass(params, sources.Patience)


@pytest.mark.parametrize("name", [name for folder, name in parts() if folder == "metrics"])
def test_a_metric_says_what_it_is_by_example(name):
    assert ">>>" in (import_module(f"pipeline_tasks.metrics.{name}").compute.__doc__ or "")


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, check=True, capture_output=True, text=True
    ).stdout.split()
    return [PROJECT / name for name in names if (PROJECT / name).is_file()]


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="not a git checkout")
def test_the_project_speaks_of_itself_alone():
    private = re.compile(r"/(?:home|root|work|Users)/\w|https?://[^/\s\"']*:\d{4}/(?:simple|pypi)")
    for path in tracked():
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".in", ".txt"} or not path.suffix:
            found = private.search(path.read_text())
            assert not found, f"{short(path)} names a machine's path: {found and found[0]}"


def test_the_reference_is_what_the_code_says():
    from pipeline_tasks.reference import text

    kept = (PROJECT / "docs" / "reference.md").read_text()
    assert kept == text(), "python -m pipeline_tasks reference > docs/reference.md"


def test_the_readme_is_short_and_what_it_links_to_exists():
    text = (PROJECT / "README.md").read_text()
    assert len(text.splitlines()) <= README_LINES
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (PROJECT / target).exists(), target
