"""How requests share calls of a model: bounded, in time, and none at another one's cost."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from pipeline_tasks.serving.batching import Batcher, Batching
from pipeline_tasks.serving.rest.codec import Input
from pipeline_tasks.serving.rest.failures import Failure
from pipeline_tasks.serving.versions.signatures import Signature

SPEC = {"x": Input(np.dtype(np.float32), (None,))}


class Doubling:
    """A model that doubles, and can be held up; a negative number is more than it can take."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.threads: list[int] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def call(self, arrays):
        self.calls.append(arrays["x"].tolist())
        self.threads.append(threading.get_ident())
        self.may_go.wait(20)
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        return {"y": arrays["x"] * 2}


class Setting:
    """A batcher in a running loop, and a model to be asked through it."""

    def __init__(self, **limits: int) -> None:
        self.model = Doubling()
        self.signature = Signature("serving_default", SPEC, self.model.call)
        self.batcher = Batcher(asyncio.get_running_loop(), Batching(**limits))

    def ask(self, *values: float, deadline: float | None = None) -> asyncio.Future:
        arrays = {"x": np.array(values, np.float32)}
        return self.batcher.ask(self.signature, arrays, len(values), deadline)

    async def hold_up(self) -> asyncio.Future:
        """A first request that is being answered until `may_go`."""
        self.model.may_go.clear()
        first = self.ask(0)
        while not self.model.calls:
            await asyncio.sleep(0.001)
        return first

    def go_on(self) -> None:
        self.model.may_go.set()


def run(scenario, **limits: int) -> None:
    async def main() -> None:
        setting = Setting(**limits)
        try:
            await scenario(setting)
        finally:
            setting.go_on()
            await asyncio.to_thread(setting.batcher.close)

    asyncio.run(main())


def test_requests_that_wait_are_answered_together_and_each_gets_its_own_rows():
    async def scenario(setting: Setting) -> None:
        first = await setting.hold_up()
        asked = [setting.ask(1), setting.ask(2, 3), setting.ask(4)]
        setting.go_on()
        answers = [(await one)["y"].tolist() for one in [first, *asked]]
        assert answers == [[0], [2], [4, 6], [8]]
        assert setting.model.calls == [[0], [1, 2, 3, 4]]

    run(scenario)


def test_a_batch_has_no_more_rows_than_allowed_unless_one_request_has():
    async def scenario(setting: Setting) -> None:
        await setting.hold_up()
        asked = [setting.ask(1), setting.ask(2), setting.ask(3), setting.ask(4, 5, 6)]
        setting.go_on()
        await asyncio.gather(*asked)
        assert setting.model.calls[1:] == [[1, 2], [3], [4, 5, 6]]

    run(scenario, max_batch_size=2)


def test_rows_of_another_shape_are_another_batch():
    async def scenario(setting: Setting) -> None:
        await setting.hold_up()
        wide = {"x": np.ones((1, 2), np.float32)}
        asked = [setting.ask(1), setting.batcher.ask(setting.signature, wide, 1)]
        setting.go_on()
        assert [(await one)["y"].tolist() for one in asked] == [[2], [[2, 2]]]

    run(scenario)


def test_more_than_may_wait_is_refused_at_once_and_told_when_to_come_again():
    async def scenario(setting: Setting) -> None:
        await setting.hold_up()
        waiting = [setting.ask(1), setting.ask(2)]
        with pytest.raises(Failure, match="2 rows are waiting already") as caught:
            setting.ask(3)
        assert (caught.value.status, caught.value.retry_after_seconds) == (503, 1)
        setting.go_on()
        assert [(await one)["y"].tolist() for one in waiting] == [[2], [4]]

    run(scenario, max_batch_size=1, max_enqueued_batches=2)


def test_a_request_past_its_deadline_is_told_so_while_the_model_is_still_busy():
    async def scenario(setting: Setting) -> None:
        await setting.hold_up()
        late = setting.ask(1, deadline=time.monotonic() + 0.01)
        patient = setting.ask(2, deadline=time.monotonic() + 60)
        with pytest.raises(Failure) as caught:
            await asyncio.wait_for(late, 10)
        assert caught.value.status == 504
        setting.go_on()
        assert (await patient)["y"].tolist() == [4]
        assert setting.model.calls == [[0], [2]]

    run(scenario)


def test_a_request_that_its_client_gave_up_is_not_asked():
    async def scenario(setting: Setting) -> None:
        await setting.hold_up()
        given_up, other = setting.ask(1), setting.ask(2)
        given_up.cancel()
        setting.go_on()
        await other
        assert setting.model.calls == [[0], [2]]

    run(scenario)


def test_the_loop_goes_on_while_a_model_is_slow():
    async def scenario(setting: Setting) -> None:
        first = await setting.hold_up()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not first.done()
        setting.go_on()
        await first
        assert threading.get_ident() not in setting.model.threads

    run(scenario)


def test_a_quick_model_is_asked_without_a_thread_once_it_is_known():
    async def scenario(setting: Setting) -> None:
        for value in range(200):
            assert (await setting.ask(value))["y"].tolist() == [value * 2]
        assert setting.model.threads[0] != threading.get_ident()
        assert threading.get_ident() in setting.model.threads

    run(scenario)


def test_a_request_that_the_model_cannot_take_costs_the_others_nothing():
    async def scenario(setting: Setting) -> None:
        await setting.hold_up()
        asked = [setting.ask(1), setting.ask(-1), setting.ask(2)]
        setting.go_on()
        assert (await asked[0])["y"].tolist() == [2]
        assert (await asked[2])["y"].tolist() == [4]
        with pytest.raises(Failure, match="ValueError: negative") as caught:
            await asked[1]
        assert caught.value.status == 500

    run(scenario)


def test_several_threads_answer_at_the_same_time():
    async def scenario(setting: Setting) -> None:
        await setting.hold_up()
        second = setting.ask(1)
        while len(setting.model.calls) < 2:
            await asyncio.sleep(0.001)
        assert len(set(setting.model.threads)) == 2
        setting.go_on()
        assert (await second)["y"].tolist() == [2]

    run(scenario, num_batch_threads=2)
