from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kastra_core.workqueue import QueueShutDown, WorkQueue, backoff_s


class FakeTime:
    """A clock that is moved by hand, with at most the timers that were set on it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[FakeTimer] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self, self.now + delay_s, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.due <= end]:
            timer = min(due, key=lambda timer: timer.due)
            self.timers.remove(timer)
            self.now = max(self.now, timer.due)
            timer.callback()
        self.now = end


class FakeTimer:
    def __init__(self, time: FakeTime, due: float, callback: Callable[[], None]) -> None:
        self.time, self.due, self.callback = time, due, callback

    def cancel(self) -> None:
        if self in self.time.timers:
            self.time.timers.remove(self)


def make(time: FakeTime) -> WorkQueue[str]:
    return WorkQueue(clock=time, call_later=time.call_later, rand=lambda: 0.0)


def take(queue: WorkQueue[str]) -> str | None:
    """The next key without an event loop, None when there is none."""
    if not len(queue):
        return None
    with pytest.raises(StopIteration) as stop:
        queue.get().send(None)
    return stop.value.value  # type: ignore[no-any-return]


class AgainstModel(RuleBasedStateMachine):
    """The queue, beside a model of few words: order of readiness, what is worked on, what waits until when."""

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeTime()
        self.queue = make(self.time)
        self.ready: list[str] = []
        self.working: set[str] = set()
        self.again: set[str] = set()
        self.later: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    keys = st.sampled_from("abcde")

    def model_add(self, key: str) -> None:
        if key in self.working:
            self.again.add(key)
        elif key not in self.ready:
            self.ready.append(key)

    def model_later(self, key: str, due: float) -> None:
        if due < self.later.get(key, 1e9):
            self.later.pop(key, None)  # of equal times, the one that was set first comes first
            self.later[key] = due

    @rule(key=keys)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.model_add(key)

    @precondition(lambda self: self.ready)
    @rule()
    def get(self) -> None:
        expected = self.ready.pop(0)
        assert take(self.queue) == expected
        self.working.add(expected)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key)
        self.working.remove(key)
        if key in self.again:
            self.again.remove(key)
            self.ready.append(key)

    @rule(key=keys, delay_s=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 7.0]))
    def add_after(self, key: str, delay_s: float) -> None:
        self.queue.add_after(key, delay_s)
        if delay_s <= 0:
            self.model_add(key)
        else:
            self.model_later(key, self.time.now + delay_s)

    @rule(key=keys)
    def add_rate_limited(self, key: str) -> None:
        self.queue.add_rate_limited(key)
        self.failures[key] = self.failures.get(key, 0) + 1
        self.model_later(key, self.time.now + backoff_s(self.failures[key]))

    @rule(key=keys)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.failures.pop(key, None)

    @rule(seconds=st.sampled_from([0.0, 0.003, 0.3, 1.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.time.advance(seconds)
        for key, due in sorted(self.later.items(), key=lambda item: item[1]):
            if due <= self.time.now:
                del self.later[key]
                self.model_add(key)

    @invariant()
    def agree(self) -> None:
        assert len(self.queue) == len(self.ready)
        assert self.queue.in_progress == len(self.working)
        assert self.queue.delayed == len(self.later)
        assert self.queue.idle == (not self.ready and not self.working)
        for key in "abcde":
            assert self.queue.num_requeues(key) == self.failures.get(key, 0)
            assert self.queue.holds(key) == (key in self.ready or key in self.working)

    @invariant()
    def one_timer_at_most(self) -> None:
        assert len(self.time.timers) == (1 if self.later else 0)


TestAgainstModel = AgainstModel.TestCase


@given(failures=st.integers(1, 5000), jitter=st.floats(0, 1), rand=st.floats(0, 0.999))
def test_backoff_is_within_its_bounds(failures: int, jitter: float, rand: float) -> None:
    whole = backoff_s(failures)
    assert 0.005 <= whole <= 1000.0
    assert whole * (1 - jitter) <= backoff_s(failures, jitter=jitter, rand=lambda: rand) <= whole


def test_backoff_needs_a_failure() -> None:
    with pytest.raises(ValueError, match="failures"):
        backoff_s(0)


async def test_a_key_that_is_added_while_it_is_worked_on_comes_again_after_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


async def test_never_two_workers_on_one_key_and_no_change_is_missed() -> None:
    queue: WorkQueue[int] = WorkQueue()
    working: set[int] = set()
    wanted, seen = dict.fromkeys(range(5), 0), dict.fromkeys(range(5), 0)

    async def work() -> None:
        while True:
            try:
                key = await queue.get()
            except QueueShutDown:
                return
            assert key not in working
            working.add(key)
            version = wanted[key]
            await asyncio.sleep(0)
            seen[key] = version
            working.remove(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for round_ in range(200):
        key = round_ * 7 % 5
        wanted[key] += 1
        queue.add(key)
        if round_ % 3 == 0:
            await asyncio.sleep(0)
    queue.shut_down()
    await asyncio.gather(*workers)
    assert seen == wanted


async def test_a_waiting_worker_is_woken_for_a_delayed_key() -> None:
    time = FakeTime()
    queue = make(time)
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add_after("a", 5)
    time.advance(4.9)
    await asyncio.sleep(0)
    assert not worker.done()
    time.advance(0.2)
    assert await worker == "a"


async def test_the_real_timer_delivers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("b", 0.02)
    queue.add_after("a", 0.001)
    assert [await queue.get(), await queue.get()] == ["a", "b"]


async def test_a_worker_that_is_cancelled_when_woken_leaves_the_key_to_another() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert queue.waiting_workers == 2
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_a_worker_that_is_cancelled_while_it_waits_is_forgotten() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    worker.cancel()
    await asyncio.wait((worker,))
    assert queue.waiting_workers == 0


async def test_shut_down_hands_out_what_is_ready_and_then_ends_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add_after("late", 1000)
    queue.shut_down()
    queue.add("b")
    queue.add_after("c", 0)
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.delayed == 0
    with pytest.raises(QueueShutDown):
        await queue.get()


async def test_shut_down_with_discard_drops_what_is_ready_and_wakes_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.shut_down(discard=True)
    with pytest.raises(QueueShutDown):
        await worker
    assert queue.idle
    assert queue.is_shut_down
