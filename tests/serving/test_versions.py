"""Whatever happens to a folder: one version answers, one that loads, and without a gap."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import MANIFEST, Store, verify_folder
from pipeline_tasks.release import desired
from pipeline_tasks.release.desired import Desired, Trial
from pipeline_tasks.serving.versions import servable
from pipeline_tasks.serving.versions.model import Model
from pipeline_tasks.serving.versions.servable import Servable

ORDER = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


def load(folder: Path, *, name: str, version: int) -> Model:
    """A whole folder whose one file does not say that it is broken is a model."""
    verify_folder(folder)
    if (folder / "content").read_text() == "broken":
        raise ValueError("broken")
    return Model(name=name, version=version, backend="tensorflow", signatures={}, metadata={})


class Loads:
    """Loads that end when they are told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future, object]] = []

    def submit(self, work) -> Future:
        future: Future = Future()
        self.waiting.append((future, work))
        return future

    def finish(self) -> None:
        for future, work in self.waiting:
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
        self.waiting = []


def in_seconds(seconds: float) -> str:
    return clock.text(clock.now() + timedelta(seconds=seconds))


class Folder:
    """A model's folder with a servable that follows it."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "models" / "small"
        self.folder.mkdir(parents=True)
        self.loads = Loads()
        self.servable = Servable(self.folder, load=load, submit=self.loads.submit)

    def publish(self, name: str, content: str = "fine") -> None:
        store = Store(self.root / "store")
        with store.write("small", name, "exported", inputs={}) as draft:
            (draft.folder / "content").write_text(content)
        shutil.copytree(store.open(draft.done()), self.folder / name)

    def settle(self) -> None:
        for _ in range(12):
            self.servable.poll()
            self.loads.finish()
        self.servable.poll()

    @property
    def table(self):
        return self.servable.table

    def states(self) -> dict[int, str]:
        return {number: one.state for number, one in sorted(self.servable.states.items())}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_names_that_are_numbers_are_versions_and_others_are_not(folder, caplog):
    for name in ("00000123", "0.1", "v1", "1-tmp", "+7", "-3", "1_0", "٣", "7", "007", str(2**63)):
        folder.publish(name)
    desired.write(folder.folder, Desired(policy="all"))
    folder.settle()
    assert folder.states() == {7: "AVAILABLE", 123: "AVAILABLE"}
    assert "007 is left out" in caplog.text


def test_the_latest_two_are_loaded_and_the_highest_answers(folder):
    for version in ("1", "2", "3"):
        folder.publish(version)
    desired.write(folder.folder, Desired(latest=2))
    folder.settle()
    assert sorted(folder.table.slots) == [2, 3]
    assert folder.table.default == 3


def test_specific_versions_are_loaded_and_the_others_let_go(folder):
    for version in ("1", "2", "3"):
        folder.publish(version)
    folder.settle()
    desired.write(folder.folder, Desired(policy="specific", specific=(1, 9)))
    folder.servable.poll()
    assert folder.table.default == 3, "until version 1 is there"
    folder.settle()
    assert folder.states() == {1: "AVAILABLE", 3: "END"}


def test_the_old_version_is_let_go_after_the_last_request_that_holds_it(folder):
    folder.publish("1")
    folder.settle()
    slot = folder.table.slots[1]
    assert slot.hold().version == 1
    folder.publish("2")
    folder.settle()
    assert folder.states() == {1: "UNLOADING", 2: "AVAILABLE"}
    assert slot.model is not None
    slot.release()
    folder.settle()
    assert folder.states() == {1: "END", 2: "AVAILABLE"}
    assert slot.hold() is None


def test_a_version_withdrawn_while_it_loads_never_answers(folder):
    folder.publish("1")
    folder.settle()
    folder.publish("2")
    folder.servable.poll()
    assert folder.states()[2] == "LOADING"
    folder.loads.finish()
    shutil.rmtree(folder.folder / "2")
    folder.servable.poll()
    assert folder.table.default == 1
    assert folder.states() == {1: "AVAILABLE", 2: "END"}


def test_a_version_that_fails_replaces_none_says_why_and_is_tried_again_when_it_changes(
    folder, monkeypatch
):
    folder.publish("1")
    folder.settle()
    folder.publish("2", "broken")
    folder.settle()
    assert folder.table.default == 1
    assert folder.servable.states[2] == servable.State("END", "ValueError: broken")
    shutil.rmtree(folder.folder / "2")
    folder.publish("2")
    folder.settle()
    assert folder.table.default == 2


def test_a_version_that_fails_is_tried_again_after_a_pause_but_not_for_ever(folder, monkeypatch):
    monkeypatch.setattr(servable, "RETRY_SECONDS", 0.0)
    tried = []
    monkeypatch.setattr(
        folder.servable, "_load", lambda *_, version, **__: tried.append(version) or 1 / 0
    )
    folder.publish("1", "broken")
    folder.settle()
    assert tried == [1] * (1 + servable.MAXIMUM_RETRIES)


def test_a_model_folder_that_is_away_leaves_its_version_answering(folder):
    folder.publish("1")
    folder.settle()
    folder.folder.rename(folder.root / "away")
    folder.settle()
    assert folder.table.default == 1
    assert not folder.servable.is_gone()


def test_a_label_moves_only_to_a_version_that_answers(folder):
    folder.publish("1")
    desired.write(folder.folder, Desired(labels={"stable": 1, "canary": 2}))
    folder.settle()
    assert folder.table.labels == {"stable": 1}
    folder.publish("2", "broken")
    desired.write(folder.folder, Desired(labels={"stable": 2}))
    folder.settle()
    assert folder.table.labels == {"stable": 1}
    folder.publish("3")
    desired.write(folder.folder, Desired(labels={"stable": 3}))
    folder.servable.poll()
    assert folder.table.labels == {"stable": 1}, "it is loading"
    folder.settle()
    assert folder.table.labels == {"stable": 3}
    assert folder.states()[1] == "END"


def test_the_default_is_loaded_first_and_answers_whatever_is_higher(folder):
    for version in ("1", "2"):
        folder.publish(version)
    desired.write(folder.folder, Desired(latest=2, default=1))
    folder.servable.poll()
    assert folder.states()[1] == "LOADING"
    folder.settle()
    assert folder.table.default == 1
    desired.write(folder.folder, Desired(default=2))
    folder.settle()
    assert (folder.table.default, sorted(folder.table.slots)) == (2, [2])


def test_a_trial_is_in_force_while_its_candidate_answers_and_until_it_is_over(folder):
    for version in ("1", "2"):
        folder.publish(version)

    def write(seconds: float, version: int = 2) -> None:
        trial = Trial(version=version, mode="canary", percent=10, until=in_seconds(seconds))
        desired.write(folder.folder, Desired(default=1, trial=trial))
        folder.settle()

    write(60)
    assert folder.table.trial.version == 2
    write(-1)
    assert folder.table.trial is None
    assert folder.table.default == 1
    write(60, version=9)
    assert folder.table.trial is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"policy": "newest"}', "\udcff", '{"default": 1, "trial": {"version": 2}}']
)
def test_a_broken_desired_state_leaves_the_last_good_one_in_force_and_is_readable(
    folder, caplog, text
):
    for version in ("1", "2"):
        folder.publish(version)
    desired.write(folder.folder, Desired(latest=2, default=1))
    folder.settle()
    (folder.folder / desired.FILE).write_text(text, errors="surrogateescape")
    folder.settle()
    assert folder.table.default == 1
    assert desired.FILE in folder.table.problem or "utf-8" in folder.table.problem
    assert caplog.text.count("the last good desired state stays in force") == 1
    desired.write(folder.folder, Desired(default=2))
    folder.settle()
    assert (folder.table.default, folder.table.problem) == (2, "")


def test_a_trial_without_an_end_is_no_trial_and_said_to_be_wrong(folder):
    for version in ("1", "2"):
        folder.publish(version)
    trial = Trial.model_construct(version=2, mode="canary", percent=10.0, until="soon")
    (folder.folder / desired.FILE).write_text(
        Desired.model_construct(default=1, trial=trial, policy="latest").model_dump_json()
    )
    folder.settle()
    assert folder.table.trial is None
    assert folder.table.problem


NAMES = st.sampled_from(["1", "2", "3", "04", "5"])
NUMBERS = st.integers(1, 5)


@st.composite
def wishes(draw) -> Desired:
    policy = draw(st.sampled_from(["latest", "all", "specific"]))
    default = draw(st.none() | NUMBERS)
    trial = None
    if default and draw(st.booleans()):
        mode = draw(st.sampled_from(["canary", "shadow"]))
        until = in_seconds(draw(st.sampled_from([-5, 600])))
        trial = Trial(version=draw(NUMBERS), mode=mode, percent=50, until=until)
    return Desired(
        policy=policy,
        latest=draw(st.integers(1, 3)),
        specific=tuple(draw(st.lists(NUMBERS, min_size=1))) if policy == "specific" else (),
        labels=draw(st.dictionaries(st.sampled_from(["stable", "canary"]), NUMBERS)),
        default=default,
        trial=trial,
    )


class Life(RuleBasedStateMachine):
    """Anything that deployment, people and disks do to a folder, in any order."""

    root: Path

    def __init__(self) -> None:
        super().__init__()
        shutil.rmtree(self.root, ignore_errors=True)
        self.it = Folder(self.root)
        self.has_answered = False
        self.held: list[tuple[object, Model]] = []
        self.before: dict[int, servable.State] = {}
        self.seen: set[int] = set()

    @rule(name=NAMES, content=st.sampled_from(["fine", "fine", "broken"]))
    def publish(self, name, content):
        if self.it.folder.is_dir() and not (self.it.folder / name).exists():
            self.it.publish(name, content)

    @rule(name=NAMES)
    def withdraw(self, name):
        shutil.rmtree(self.it.folder / name, ignore_errors=True)

    @rule(name=NAMES)
    def tear(self, name):
        (self.it.folder / name / MANIFEST).unlink(missing_ok=True)

    @rule(name=NAMES)
    def alter(self, name):
        if (self.it.folder / name).is_dir():
            (self.it.folder / name / "content").write_text("altered")

    @rule(wish=wishes())
    def wish(self, wish):
        if self.it.folder.is_dir():
            desired.write(self.it.folder, wish)

    @rule(text=st.sampled_from(["", "{", "null", '{"default": "x"}']))
    def break_the_wish(self, text):
        if self.it.folder.is_dir():
            (self.it.folder / desired.FILE).write_text(text)

    @rule()
    def unmount(self):
        if self.it.folder.is_dir() and not (self.root / "away").exists():
            self.it.folder.rename(self.root / "away")

    @rule()
    def mount(self):
        if (self.root / "away").exists():
            self.it.folder.rename(self.root / "x") if self.it.folder.exists() else None
            (self.root / "away").rename(self.it.folder)

    @rule()
    def poll(self):
        self.seen = set(self.it.servable._present() or self.it.table.slots)
        self.it.servable.poll()

    @rule()
    def finish_loading(self):
        self.it.loads.finish()

    @rule()
    def retry_pause_passes(self):
        for version, failed in self.it.servable._failed.items():
            self.it.servable._failed[version] = servable.Failed(failed.manifest, 1, -1e9)

    @precondition(lambda self: self.it.table.slots)
    @rule(number=st.integers(0, 9))
    def ask(self, number):
        versions = sorted(self.it.table.slots)
        slot = self.it.table.slots[versions[number % len(versions)]]
        model = slot.hold()
        assert model is not None, "in the table, it answers"
        self.held.append((slot, model))

    @precondition(lambda self: self.held)
    @rule()
    def answer(self):
        self.held.pop(0)[0].release()

    @invariant()
    def one_version_answers_and_never_none_again(self):
        table = self.it.table
        self.has_answered |= table.default is not None
        assert (table.default in table.slots) == self.has_answered
        assert all(slot.model.version == version for version, slot in table.slots.items())

    @invariant()
    def what_is_named_answers(self):
        table = self.it.table
        assert set(table.labels.values()) <= set(table.slots)
        assert table.trial is None or table.trial.version in table.slots
        wanted = table.desired.default
        assert wanted not in self.seen & set(table.slots) or table.default == wanted
        there = self.seen & set(table.slots)
        assert not there or table.default in there, "one that was withdrawn gives way"

    @invariant()
    def states_say_who_answers_and_go_forward_only(self):
        states = self.it.servable.states
        available = {number for number, one in states.items() if one.state == "AVAILABLE"}
        assert available == set(self.it.table.slots)
        for number, one in states.items():
            before = self.before.get(number)
            if before and before.state != "END":
                assert ORDER.index(one.state) >= ORDER.index(before.state) or one.state == "START"
        self.before = dict(states)

    @invariant()
    def a_request_keeps_its_model(self):
        assert all(slot.model is model for slot, model in self.held)

    def teardown(self):
        for slot, _ in self.held:
            slot.release()
        (self.root / "away").rename(self.it.folder) if (self.root / "away").exists() else None
        self.it.settle()
        leaving = {"UNLOADING", "LOADING", "START"}
        assert not leaving & set(self.it.states().values()), "everything comes to rest"


def test_any_order_of_events_leaves_one_version_answering(tmp_path):
    Life.root = tmp_path / "life"
    found = Life.TestCase
    found.settings = settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    found("runTest").runTest()
