from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from kastra_core.events import EventBus


def test_a_message_reaches_those_whose_pattern_matches() -> None:
    bus = EventBus()
    got: list[tuple[str, Any]] = []
    for pattern in ("agent.reconciled", "agent.*", "*.reconciled", "*", "tool.*", "agent.recon?iled", "agent"):
        bus.subscribe(pattern, lambda message, pattern=pattern: got.append((pattern, message)))
    bus.publish("agent.reconciled", 1)
    assert [pattern for pattern, _ in got] == [
        "agent.reconciled",
        "agent.*",
        "*.reconciled",
        "*",
        "agent.recon?iled",
    ]


def test_a_plain_handler_is_called_inside_publish_without_an_event_loop() -> None:
    bus = EventBus()
    got: list[Any] = []
    bus.subscribe("a", got.append)
    bus.publish("a", {"x": 1})
    assert got == [{"x": 1}]


def test_with_topic_gives_the_topic_too() -> None:
    bus = EventBus()
    got: list[tuple[str, int]] = []
    bus.subscribe("run.*", lambda topic, message: got.append((topic, message)), with_topic=True)
    bus.publish("run.started", 1)
    assert got == [("run.started", 1)]


def test_nothing_comes_after_unsubscribe() -> None:
    bus = EventBus()
    got: list[Any] = []
    subscription = bus.subscribe("a", got.append)
    bus.publish("a", 1)
    subscription.unsubscribe()
    subscription.unsubscribe()
    bus.publish("a", 2)
    assert got == [1]
    assert not bus.wants("a")


def test_a_handler_may_unsubscribe_another_and_subscribe_while_a_message_is_published() -> None:
    bus = EventBus()
    got: list[Any] = []

    def turn(message: Any) -> None:
        later.unsubscribe()
        bus.subscribe("a", got.append)

    bus.subscribe("a", turn)
    later = bus.subscribe("a", lambda message: got.append("later"))
    bus.publish("a", 1)
    assert got == []
    bus.publish("a", 2)
    assert got == [2]


def test_a_handler_that_raises_is_logged_and_counted_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    got: list[int] = []

    def broken(message: Any) -> None:
        raise RuntimeError("broken handler")

    subscription = bus.subscribe("a", broken)
    bus.subscribe("a", got.append)
    with caplog.at_level(logging.ERROR):
        bus.publish("a", 1)
        bus.publish("a", 2)
    assert (got, subscription.faults) == ([1, 2], 2)
    assert "broken handler" in caplog.text


def test_a_plain_function_that_returns_a_coroutine_is_a_fault_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        return None

    bus = EventBus()
    subscription = bus.subscribe("a", lambda message: work())
    bus.publish("a", 1)
    assert subscription.faults == 1
    assert "async def" in caplog.text


@pytest.mark.parametrize("options", [{"capacity": 0}, {"when_full": "block"}])
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        EventBus().subscribe("a", print, **options)


async def test_an_async_handler_gets_messages_one_after_the_other_in_order() -> None:
    bus, got, running = EventBus(), [], 0

    async def handler(message: int) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        got.append(message)
        running -= 1

    subscription = bus.subscribe("a", handler)
    for number in range(10):
        bus.publish("a", number)
    assert got == []
    await subscription.aclose()
    assert got == list(range(10))
    bus.publish("a", 99)
    assert len(got) == 10


async def test_an_object_with_an_async_call_is_awaited() -> None:
    class Handler:
        def __init__(self) -> None:
            self.got: list[int] = []

        async def __call__(self, message: int) -> None:
            self.got.append(message)

    bus, handler = EventBus(), Handler()
    async with bus.subscribe("a", handler):
        bus.publish("a", 1)
    assert handler.got == [1]


@pytest.mark.parametrize(("when_full", "kept"), [("drop_oldest", [3, 4]), ("drop_newest", [0, 1])])
async def test_a_full_queue_drops_by_its_policy_and_counts(when_full: Any, kept: list[int]) -> None:
    bus, got = EventBus(), []

    async def handler(message: int) -> None:
        got.append(message)

    subscription = bus.subscribe("a", handler, capacity=2, when_full=when_full)
    for number in range(5):
        bus.publish("a", number)
    await subscription.aclose()
    assert (got, subscription.dropped) == (kept, 3)


async def test_an_async_handler_that_raises_gets_the_next_message() -> None:
    bus, got = EventBus(), []

    async def handler(message: int) -> None:
        if message == 1:
            raise RuntimeError("one")
        got.append(message)

    subscription = bus.subscribe("a", handler)
    for number in range(3):
        bus.publish("a", number)
    await subscription.aclose()
    assert (got, subscription.faults) == ([0, 2], 1)


async def test_unsubscribe_discards_what_waits_and_aclose_delivers_it() -> None:
    bus, got = EventBus(), []

    async def handler(message: int) -> None:
        got.append(message)

    first, second = bus.subscribe("a", handler), bus.subscribe("b", handler)
    bus.publish("a", 1)
    bus.publish("b", 2)
    first.unsubscribe()
    await second.aclose()
    assert got == [2]


async def test_an_async_handler_may_close_its_own_subscription() -> None:
    bus, got = EventBus(), []

    async def handler(message: int) -> None:
        got.append(message)
        await subscription.aclose()
        done.set()

    done = asyncio.Event()
    subscription = bus.subscribe("a", handler)
    bus.publish("a", 1)
    await done.wait()
    assert got == [1]


async def test_listen_gets_what_is_published_since_the_call() -> None:
    bus = EventBus()
    listener = bus.listen("run.*", with_topic=True)
    bus.publish("run.started", 1)
    bus.publish("agent.reconciled", 2)
    bus.publish("run.finished", 3)
    assert listener.pending == 2
    got = []
    async for topic, message in listener:
        got.append((topic, message))
        if topic == "run.finished":
            break
    assert got == [("run.started", 1), ("run.finished", 3)]
    await listener.aclose()
    assert not bus.wants("run.started")


async def test_a_listener_wakes_for_a_message_and_ends_when_the_bus_is_closed() -> None:
    bus, got = EventBus(), []

    async def listen() -> None:
        async for message in bus.listen("a"):
            got.append(message)
            seen.set()

    seen = asyncio.Event()
    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    bus.publish("a", 1)
    await seen.wait()
    await bus.aclose()
    await task
    assert got == [1]


async def test_a_cancelled_reader_does_not_lose_the_message_for_the_next_one() -> None:
    bus = EventBus()
    listener = bus.listen("a")
    first, second = asyncio.ensure_future(anext(listener)), asyncio.ensure_future(anext(listener))
    await asyncio.sleep(0)
    bus.publish("a", "news")
    first.cancel()
    assert await second == "news"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_forgotten_listener_leaves_the_bus() -> None:
    bus = EventBus()
    listener = bus.listen("a")
    assert bus.wants("a")
    del listener
    gc.collect()
    assert not bus.wants("a")


async def test_another_thread_may_publish() -> None:
    bus = EventBus()
    listener = bus.listen("a")
    thread = threading.Thread(target=bus.publish, args=("a", 1))
    thread.start()
    assert await anext(listener) == 1
    thread.join()


def test_publishing_to_a_loop_that_is_gone_counts_as_dropped() -> None:
    bus = EventBus()

    async def subscribe() -> Any:
        return bus.listen("a")

    listener = asyncio.run(subscribe())
    thread = threading.Thread(target=bus.publish, args=("a", 1))
    thread.start()
    thread.join()
    assert listener.dropped == 1


def test_topics_with_ids_do_not_make_the_bus_grow() -> None:
    bus = EventBus()
    bus.subscribe("run.*", lambda message: None)
    for number in range(5000):
        bus.publish(f"run.{number}", None)
    assert len(bus._matches) <= 1024


def test_importing_the_bus_does_not_import_asyncio() -> None:
    code = "import sys, kastra_core.events; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
