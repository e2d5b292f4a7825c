"""A fingerprint depends on all the code that a step runs."""

from __future__ import annotations

import ast

import pytest

from pipeline_tasks.core import fingerprint

MODULES = sorted(fingerprint.PACKAGE.rglob("*.py"))


def parsed(path):
    """The modules of the package that a module imports, by way of its syntax tree."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not looked for"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_import_is_overlooked(path):
    def modules(names):
        return {fingerprint._path(name) for name in names} - {None}

    assert modules(fingerprint._imports(path)) == modules(parsed(path))
