"""Two exported models of the small pipeline and a real server in front of the first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline_tasks.release import publishing
from tests.server import Server
from tests.small import write_small

ROW = {"width": 0.5, "height": 0.25, "colour": "red"}


@dataclass
class Models:
    """Exported folders, ready to be published."""

    first: Path
    second: Path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Two models that answer differently."""
    found = []
    for epochs in (1, 5):
        training = {"epochs": epochs, "batch_size": 32, "learning_rate": 0.03, "patience": 0}
        made = write_small(tmp_path_factory.mktemp("models"), training=training)
        found.append(made.run().open(made.steps(until="export")["export"]))
    return Models(*found)


@pytest.fixture
def server(tmp_path: Path, models: Models) -> Iterator[Server]:
    """A server of its own for a test that changes what is served."""
    yield from _serving(tmp_path, models)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Server]:
    """One server for the tests of a file that only ask."""
    yield from _serving(tmp_path_factory.mktemp("server"), models)


def _serving(folder: Path, models: Models) -> Iterator[Server]:
    server = Server(folder)
    (server.models / "small").mkdir()
    publishing.publish(models.first, server.models / "small")
    server.start()
    server.wait(lambda: server.answers("/v1/models/small"))
    server.wait(lambda: server.answers("/readyz"))
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)
