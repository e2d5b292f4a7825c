"""In whatever order, and killed at whatever moment: one version answers, and it is whole."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import Future
from pathlib import Path

import pytest

from pipeline_tasks import loop
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.core.store import verify_folder
from pipeline_tasks.core.values import Ref
from pipeline_tasks.release import desired
from pipeline_tasks.run import Run
from pipeline_tasks.serving.versions.model import Model
from pipeline_tasks.serving.versions.servable import Servable
from tests.small import Small, write_small

SEQUENCES, OPERATIONS = 8, 8
LONG_AGO = "2026-01-01T00:00:00.000Z"


class Killed(BaseException):
    """SIGKILL, as far as the disk is concerned."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, dict[str, Ref]]:
    made = write_small(
        tmp_path_factory.mktemp("trained"),
        target={"kind": "model_server"},
        evaluation={"bootstrap": 0, "importance": False},
    )
    return made, made.steps(until="verify")


class World:
    """The steps of a release over a server's own logic, whose models are folders that are whole."""

    def __init__(self, trained, folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        made, self.left = trained
        shutil.copytree(made.run().store.root, folder / "store")
        self.made = Small(folder=folder, csv=made.csv, yaml=made.yaml)
        self.chance = random.Random(seed)
        self.count = 0
        self.moves_left = 10**9
        self.restart()
        target = registry.part("targets", "model_server")
        monkeypatch.setattr(target, "check_ready", lambda *_: None)
        monkeypatch.setattr(target, "rehearse", lambda *given: self.load(given[2]))
        monkeypatch.setattr(target, "confirm", lambda *given: self.answer(given[2]))
        for name in ("rename", "replace"):
            monkeypatch.setattr(Path, name, self.mortal(getattr(Path, name)))

    def mortal(self, real):
        """A move of a file that may be the last thing that happens, or not happen at all."""

        def moved(*given):
            self.moves_left -= 1
            if self.moves_left < 0:
                raise Killed
            return real(*given)

        return moved

    def restart(self) -> None:
        """A server that knows only what is on the disk."""

        def load(path: Path, *, name: str, version: int) -> Model:
            verify_folder(path)
            return Model(
                name=name, version=version, backend="tensorflow", signatures={}, metadata={}
            )

        def submit(begin) -> Future[Model]:
            future: Future[Model] = Future()
            future.set_result(begin())
            return future

        self.server = Servable(self.made.run().models / "small", load=load, submit=submit)

    def default(self) -> int | None:
        """Who answers."""
        for _ in range(5):
            self.server.poll()
        return self.server.table.default

    def load(self, version: int) -> None:
        assert self.default() is not None
        assert version in self.server.table.slots

    def answer(self, version: int) -> None:
        assert self.default() == version

    def candidate(self) -> tuple[Run, dict[str, Ref]]:
        """A new run with a model nobody has seen before, published."""
        self.count += 1
        run = self.made.run(f"run {self.count}")
        left = dict(self.left)
        for artifact, of in (("model", "train"), ("exported", "export")):
            with run.write(artifact) as draft:
                source = run.open(self.left[of])
                ignored = shutil.ignore_patterns("manifest.json")
                shutil.copytree(source, draft.folder, dirs_exist_ok=True, ignore=ignored)
                (draft.folder / "extra.npz").write_text(run.id)
            left[of] = draft.done()
        self.do(run, "publish", left)
        return run, left

    def do(self, run: Run, name: str, left: dict[str, Ref], **given: object) -> None:
        needs = {key: left[of] for key, of in loop.NEEDS[name].items()}
        left[name] = loop.function(name)(run, **needs, **given)

    def release(self, *, until: str, verdict: str = "yes") -> None:
        """Publish, go on trial, and promote or withdraw, up to some point."""
        run, left = self.candidate()
        champion = run.store.champion("small")
        version = int(str(left["publish"].summary["version"]))
        if champion:
            assert self.default() == champion.version, "a new folder answers nobody by accident"
            trial = desired.Trial(version=version, mode="canary", percent=10, until=LONG_AGO)
            wanted = desired.beside(champion.version, version, trial)
            desired.write(run.models / "small", wanted)
        if until == "trial":
            return
        if verdict == "yes":
            self.do(run, "deploy", left)
        if until == "deploy" and verdict == "yes":
            return
        with run.write("watched") as draft:
            (draft.folder / "watched.json").write_text("{}")
            draft.summary |= {"answer": "no", "reasons": "it is bad"}
        self.do(run, "withdraw", left, watched=draft.done())

    def roll_back(self, version: int | None) -> None:
        self.count += 1
        run = self.made.run(f"run {self.count}")
        loop.function("rollback")(run, version=version, reason="so it is")

    def operate(self) -> None:
        """One thing that happens."""
        number = self.chance.choice([None, *range(1, self.count + 1)])
        things = [
            lambda: self.release(until="deploy"),
            lambda: self.release(until="trial"),
            lambda: self.release(until="end", verdict="no"),
            lambda: self.release(until="end"),
            lambda: self.roll_back(None),
            lambda: self.roll_back(number),
        ]
        self.chance.choice(things)()


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_exactly_one_whole_version_answers_whatever_happens(trained, tmp_path, monkeypatch, seed):
    world = World(trained, tmp_path, monkeypatch, seed)
    store = world.made.run().store
    world.release(until="deploy")
    for _ in range(OPERATIONS):
        is_deadly = world.chance.random() < 0.4
        world.moves_left = world.chance.randrange(1, 25) if is_deadly else 10**9
        is_complete = True
        try:
            world.operate()
        except Killed:
            is_complete = False
        except PipelineError:
            pass  # there is no such version, or none to go back to
        world.moves_left = 10**9
        if world.chance.random() < 0.5:
            world.restart()
        answering, champion = world.default(), store.champion("small")
        assert answering is not None
        assert champion is not None
        verify_folder(world.made.run().models / "small" / str(answering))
        if is_complete:
            assert answering == champion.version
            assert desired.read(world.made.run().models / "small").default == champion.version
