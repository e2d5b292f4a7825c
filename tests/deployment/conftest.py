"""A small pipeline behind a real server, with traffic that never stops."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from pipeline_tasks import loop
from pipeline_tasks.core.values import Ref
from pipeline_tasks.run import Run
from tests.deployment.bad_models import FAR
from tests.server import Server
from tests.small import Small, write_small

CANARY = {
    "strategy": "canary",
    "steps": [30, 60],
    "step_minutes": 0.5,
    "minimum_requests": 30,
    "confidence": 0.95,
    "error_margin": 0.1,
    "bake_minutes": 0.05,
}


def bad(name: str, **settings: object) -> dict[str, object]:
    """A model of `bad_models` as a pipeline file names it."""
    path = f"tests.deployment.bad_models.{name}"
    return {"kind": "keras_function", "path": path, "settings": settings}


class Traffic:
    """Two clients that never stop asking, every tenth request about rows far from training's."""

    def __init__(self, url: str, model: str, *, is_labelled: bool = False) -> None:
        self.failures: list[str] = []
        self.answered: Counter[int] = Counter()
        self._path = f"{url}/v1/models/{model}"
        self._is_labelled = is_labelled
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(2)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(timeout=30) as client:
            for number in itertools.count():
                if self._stop.wait(0.005):
                    return
                width = FAR if number % 10 == 9 else chance.gauss(0, 1)
                height = chance.gauss(0, 1)
                row = {"width": width, "height": height, "colour": "red"}
                reply = client.post(f"{self._path}:predict", json={"instances": [row]})
                if reply.status_code != 200:
                    self.failures.append(reply.text)
                    continue
                self.answered[int(reply.headers["perennial-version"])] += 1
                if self._is_labelled:
                    identity = f"{reply.headers['perennial-prediction-id']}-0"
                    label = {"id": identity, "label": int(width + height > 0)}
                    client.post(f"{self._path}:label", json={"labels": [label]})


class Deployed:
    """One pipeline with a server of its own; `change` edits its file, `train` goes round."""

    def __init__(self, folder: Path, **content: object) -> None:
        self.server = Server(folder).start()
        self.made: Small = write_small(folder, target={"kind": "model_server"}, **content)
        self._count = itertools.count(1)

    def change(self, **content: object) -> None:
        """Replace top-level keys of the pipeline file."""
        known = yaml.safe_load(self.made.yaml.read_text())
        self.made.yaml.write_text(yaml.safe_dump(known | content))

    def run(self, **changes: object) -> Run:
        """A new run."""
        run = self.made.run(f"run {next(self._count)}", **changes)
        return replace(run, server=self.server.url)

    def train(self, **changes: object) -> dict[str, Ref]:
        """What each step left."""
        return dict(loop.run_steps(self.run(**changes)))

    def traffic(self, **settings: bool) -> Traffic:
        """Clients that ask while the block runs."""
        return Traffic(self.server.url, "small", **settings)

    def champion(self) -> int:
        """The champion's version."""
        champion = self.run().store.champion("small")
        assert champion is not None
        return champion.version

    def events(self) -> list[str]:
        """What the history says, in short."""
        return [entry.event for entry in self.run().store.history("small")]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One pipeline with a good first version in production, for all tests of a module."""
    made = Deployed(
        tmp_path_factory.mktemp("deployed"),
        model=bad("good"),
        promotion={"minimum": 0.5, "margin": 1.0, "slice_margin": 1.0},
        metrics=["accuracy"],
        evaluation={"bootstrap": 0, "importance": False},
        deployment=CANARY,
        # What is slow in TensorFlow is quick in LiteRT, and these tests want it slow.
        export={"serve": "tensorflow"},
    )
    try:
        left = made.train()
        assert list(left)[-1] == "bake", left
        yield made
    finally:
        made.server.kill()
