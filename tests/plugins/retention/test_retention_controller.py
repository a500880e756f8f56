"""When a policy is enforced, by whom, and what its status tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import ResourceKey, condition_of
from kastra_core.config import Config
from kastra_core.controller import Request
from kastra_core.errors import StoreUnavailableError
from kastra_core.plugins import PluginManager
from kastra_core.recorder import EventRecorder
from kastra_core.runtime import RuntimeManager, registry_of
from kastra_plugin_libsql.store import open_store
from kastra_plugin_retention import hooks
from kastra_plugin_retention.controller import LEASE
from kastra_plugin_retention.enforcement import Pass

DAY_S = 86400.0
KEY = ResourceKey("mastra.ai", "RetentionPolicy", "", "default")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Passes wait for ``gate.open``; ``gate.reached`` is set when one does."""

    class Gate:
        def __init__(self) -> None:
            self.open, self.reached, self.passed = asyncio.Event(), asyncio.Event(), 0

    gate, original = Gate(), Pass.run

    async def run(self: Pass) -> None:
        gate.reached.set()
        await gate.open.wait()
        gate.passed += 1
        await original(self)

    monkeypatch.setattr(Pass, "run", run)
    return gate


async def test_nothing_is_removed_again_before_the_interval_is_over(world: Any) -> None:
    await world.run("one", age_s=9 * DAY_S)
    await world.enforce(interval="10m", runs=[{"ttl": "7d"}])
    await world.run("two", age_s=9 * DAY_S)
    world.clock.advance(599)
    result = await world.reconcile()
    assert (await world.names(), result.requeue_after_s) == (["two"], 1.0)
    world.clock.advance(1)
    await world.reconcile()
    assert await world.names() == []
    status = await world.status()
    assert (status["lastRun"]["removed"], status["removed"]) == ({"runs": 1}, {"runs": 2, "total": 2})


@pytest.fixture
def told(world: Any) -> Callable[[], list[tuple[str, str, str]]]:
    """``told()``: (type, reason, message) of the events so far."""
    return lambda: [item[1:] for item in world.runtime.events.items]


async def test_a_pass_that_removed_something_is_told_by_one_event(world: Any, told: Any) -> None:
    for number in range(40):
        await world.run(f"r{number}", age_s=9 * DAY_S)
    await world.thread("t", age_s=9 * DAY_S)
    await world.event("young")
    await world.enforce(runs=[{"ttl": "7d"}], threads={"ttl": "7d"}, events={"ttl": "1d"})
    assert told() == [("Normal", "Removed", "40 runs, 1 thread")]
    await world.reconcile()
    world.clock.advance(600)
    await world.reconcile()
    assert len(told()) == 1
    enforced = condition_of(await world.client.require(KEY), "Enforced")
    assert enforced is not None
    assert enforced["message"] == "nothing had to go"


async def test_the_removal_of_old_events_of_removals_is_no_event(world: Any, told: Any) -> None:
    recorder = EventRecorder(world.client, clock=world.clock)
    await world.run("old", age_s=9 * DAY_S)
    policy = await world.policy(interval="1d", runs=[{"ttl": "7d"}], events={"ttl": "1h"})
    await recorder.record(policy, "Normal", "Removed", "1 run")
    await world.reconcile()
    assert told() == [("Normal", "Removed", "1 run")]
    world.clock.advance(DAY_S)
    await world.reconcile()
    assert (await world.names("Event"), len(told())) == ([], 1)
    await recorder.record(policy, "Normal", "Removed", "1 run")
    await world.event("other")
    world.clock.advance(DAY_S)
    await world.reconcile()
    assert told()[1:] == [("Normal", "Removed", "2 events")]


async def test_an_outcome_is_counted_and_told_once_whoever_reconciles_meanwhile(
    world: Any, told: Any, monkeypatch: Any
) -> None:
    await world.enforce(interval="10m", runs=[{"ttl": "7d"}])
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    write = world.client.update_status

    async def slow(*args: Any, **options: Any) -> Any:
        written = await write(*args, **options)
        for _ in range(100):
            await asyncio.sleep(0)
        return written

    monkeypatch.setattr(world.client, "update_status", slow)
    await world.controller.reconcile(Request("", "default"))
    while world.controller._running:
        await asyncio.sleep(0)
    await asyncio.gather(*(world.reconcile() for _ in range(3)))
    for _ in range(200):  # the report of the pass may be under way
        await asyncio.sleep(0)
    assert (await world.status())["removed"] == {"runs": 1, "total": 1}
    assert told() == [("Normal", "Removed", "1 run")]


async def test_a_dry_run_names_only_what_would_go(world: Any, told: Any) -> None:
    spec = {"runs": [{"ttl": "7d"}], "threads": {"ttl": "7d"}, "dryRun": True}
    await world.enforce(**spec)
    enforced = condition_of(await world.client.require(KEY), "Enforced")
    assert enforced is not None
    assert (enforced["status"], enforced["reason"], enforced["message"]) == ("True", "DryRun", "nothing would go")
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    await world.reconcile()
    enforced = condition_of(await world.client.require(KEY), "Enforced")
    assert enforced is not None
    assert (enforced["status"], enforced["reason"], enforced["message"]) == ("False", "DryRun", "1 run would go")
    assert told() == []


async def test_no_event_is_without_a_message(world: Any, told: Any) -> None:
    await world.enforce(runs=[{"ttl": "7d"}], dryRun=True)
    await world.enforce(runs=[{"ttl": "7d"}], dryRun=False)
    assert told() == [("Normal", "Valid", "enforced every 10m")]


async def test_while_a_pass_is_under_way_a_short_interval_is_not_outwaited(world: Any, gate: Any) -> None:
    gate.open.set()
    await world.enforce(interval="2s", runs=[{"ttl": "7d"}])
    world.clock.advance(2)
    gate.open.clear()
    result = await world.controller.reconcile(Request("", "default"))
    assert result.requeue_after_s == 2.0
    gate.open.set()
    await world.controller.finished()


async def test_the_end_of_a_pass_calls_for_a_look_at_its_policy_and_its_failure_does_not(
    world: Any, monkeypatch: Any
) -> None:
    asked: list[Any] = []
    world.controller.attach(asked.append)
    await world.enforce(runs=[{"ttl": "7d"}])
    asked.clear()
    world.clock.advance(600)
    await world.reconcile()
    assert [policy.metadata.name for policy in asked] == ["default"]

    async def fails(self: Pass) -> None:
        raise StoreUnavailableError("the disk is full; make room")

    monkeypatch.setattr(Pass, "run", fails)
    world.clock.advance(600)
    await world.reconcile()
    assert len(asked) == 1


async def test_the_clock_is_looked_at_every_minute(world: Any) -> None:
    await world.policy(interval="1d", runs=[{"ttl": "7d"}])
    assert (await world.reconcile()).requeue_after_s == 60.0


async def test_a_clock_that_was_set_back_does_not_stop_the_passes(world: Any) -> None:
    await world.enforce(runs=[{"ttl": "1d"}])
    world.clock.advance(-9 * DAY_S)
    await world.run("old", age_s=2 * DAY_S)
    await world.reconcile()
    assert await world.names() == []


async def test_a_changed_policy_is_enforced_at_once(world: Any) -> None:
    await world.run("old", age_s=3 * DAY_S)
    await world.enforce(runs=[{"ttl": "7d"}])
    assert await world.names() == ["old"]
    status = await world.enforce(runs=[{"ttl": "2d"}])
    assert await world.names() == []
    assert status["lastRun"]["generation"] == 2
    assert status["observedGeneration"] == 2


async def test_status_tells_the_times_of_the_last_and_the_next_pass(world: Any) -> None:
    status = await world.enforce(interval="10m", runs=[{"ttl": "7d"}])
    assert (status["lastRunTime"], status["nextRunTime"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:23:20Z")


async def test_another_process_does_not_repeat_a_pass(world: Any) -> None:
    await world.enforce(runs=[{"ttl": "7d"}])
    await world.run("old", age_s=9 * DAY_S)
    await world.again().reconcile()
    assert await world.names() == ["old"]


async def test_the_interval_goes_on_over_a_restart(world: Any) -> None:
    await world.enforce(runs=[{"ttl": "7d"}])
    await world.controller.aclose()
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    await world.again().reconcile()
    assert await world.names() == []


async def test_of_two_processes_one_enforces_at_a_time(world: Any, gate: Any) -> None:
    await world.run("old", age_s=9 * DAY_S)
    await world.policy(runs=[{"ttl": "7d"}])
    other = world.again()
    first = asyncio.create_task(world.reconcile())
    await gate.reached.wait()
    result = await other.reconcile()
    assert result.requeue_after_s == 5.0
    assert await world.names() == ["old"]
    gate.open.set()
    await first
    await other.reconcile()
    assert gate.passed == 1
    assert (await world.status())["removed"]["total"] == 1


async def test_the_lease_is_given_back_after_a_pass(world: Any) -> None:
    await world.enforce(runs=[{"ttl": "7d"}])
    lease = await world.store.leases.get(LEASE)
    assert lease is None or lease.expires_at_s <= world.clock()


async def test_a_pass_ends_when_its_lease_was_taken_by_another_process(world: Any, monkeypatch: Any) -> None:
    for number in range(200):
        await world.run(f"r{number:03}", age_s=9 * DAY_S)
    monkeypatch.setattr("kastra_plugin_retention.controller._LEASE_TTL_S", 0.0)
    acquire, count = world.store.leases.acquire, []

    async def lost(name: str, holder: str, ttl_s: float, data: Any = None) -> Any:
        count.append(holder)
        return await acquire(name, holder, 30.0, data) if len(count) == 1 else None

    monkeypatch.setattr(type(world.store.leases), "acquire", lambda self, *args: lost(*args))
    await world.policy(runs=[{"ttl": "7d"}])
    await world.reconcile()
    left = len(await world.names())
    assert 0 < left < 200
    assert "lastRunTime" not in await world.status()
    await world.controller.aclose()
    assert (await world.status())["removed"]["total"] == 200 - left


async def test_two_processes_without_a_lease_do_no_harm(world: Any, monkeypatch: Any) -> None:
    """As when one was suspended for longer than its lease."""
    for number in range(150):
        parent = await world.run(f"r{number:03}", age_s=9 * DAY_S)
        await world.run(f"r{number:03}-child", age_s=9 * DAY_S, parent=parent)
        await world.thread(f"t{number:03}", age_s=9 * DAY_S)
    await world.run("young")

    async def both(*args: Any) -> object:
        return object()

    monkeypatch.setattr(type(world.store.leases), "acquire", both)
    other = world.again()
    await world.policy(runs=[{"ttl": "7d"}], threads={"ttl": "7d"})
    await asyncio.gather(world.reconcile(), other.reconcile(), return_exceptions=True)
    assert (await world.names(), await world.threads()) == (["young"], [])
    assert (await world.status())["lastRun"]["failed"] == 0


async def test_a_reconcile_of_a_policy_that_is_merely_due_does_not_wait_for_its_pass(world: Any, gate: Any) -> None:
    gate.open.set()
    await world.enforce(runs=[{"ttl": "7d"}])
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    gate.open.clear()
    result = await world.controller.reconcile(Request("", "default"))
    assert result.requeue_after_s == 5.0
    gate.open.set()
    await world.controller.finished()
    assert (await world.status())["removed"]["total"] == 1


async def test_a_pass_is_cut_off_at_the_end_of_the_process_and_the_next_one_goes_on(world: Any, gate: Any) -> None:
    gate.open.set()
    await world.enforce(runs=[{"ttl": "7d"}])
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    gate.open.clear()
    await world.controller.reconcile(Request("", "default"))
    await gate.reached.wait()
    await world.controller.aclose()
    assert await world.names() == ["old"]
    gate.open.set()
    await world.again().reconcile()
    assert await world.names() == []


async def test_what_a_pass_removed_that_was_cut_off_is_counted(world: Any, told: Any, monkeypatch: Any) -> None:
    await world.enforce(runs=[{"ttl": "7d"}])
    for number in range(100):
        await world.run(f"r{number:03}", age_s=9 * DAY_S)
    world.clock.advance(600)
    batch, stopped = Pass._batch, asyncio.Event()

    async def stop_after_one(self: Pass, *args: Any) -> int:
        count = await batch(self, *args)
        stopped.set()
        await asyncio.Event().wait()
        return count

    monkeypatch.setattr(Pass, "_batch", stop_after_one)
    await world.controller.reconcile(Request("", "default"))
    await stopped.wait()
    await world.controller.aclose()
    left = len(await world.names())
    assert 0 < left < 100
    assert (await world.status())["removed"]["total"] == 100 - left
    assert (await world.status())["lastRun"]["removed"] == {"runs": 0}
    assert told() == [("Normal", "Removed", f"{100 - left} runs; the next pass goes on")]
    monkeypatch.undo()
    await world.again().reconcile()
    assert await world.names() == []
    assert (await world.status())["removed"]["total"] == 100


async def test_a_batch_that_is_under_way_at_the_end_of_the_process_is_done_and_counted(
    world: Any, monkeypatch: Any
) -> None:
    await world.enforce(runs=[{"ttl": "7d"}])
    for number in range(10):
        await world.run(f"r{number}", age_s=9 * DAY_S)
    world.clock.advance(600)
    monkeypatch.setattr("kastra_plugin_retention.controller._GRACE_S", 0.0)
    delete, begun, go_on = world.client.delete, asyncio.Event(), asyncio.Event()

    async def slow(key: ResourceKey, **options: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await delete(key, **options)

    monkeypatch.setattr(world.client, "delete", slow)
    await world.controller.reconcile(Request("", "default"))
    await begun.wait()
    end = asyncio.create_task(world.controller.aclose())
    while world.controller._running:
        await asyncio.sleep(0)
    go_on.set()
    await end
    assert await world.names() == []
    assert (await world.status())["removed"]["total"] == 10


async def test_a_pass_ends_when_its_policy_is_deleted(world: Any, gate: Any) -> None:
    gate.open.set()
    await world.enforce(runs=[{"ttl": "7d"}])
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    gate.open.clear()
    await world.controller.reconcile(Request("", "default"))
    await world.client.delete(KEY)
    await world.controller.reconcile(Request("", "default"))
    gate.open.set()
    await world.controller.finished()
    assert (await world.names(), gate.passed) == (["old"], 1)


async def test_a_pass_of_an_older_spec_ends_when_the_policy_changes(world: Any, gate: Any) -> None:
    gate.open.set()
    await world.enforce(runs=[{"ttl": "7d"}])
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    gate.open.clear()
    await world.controller.reconcile(Request("", "default"))
    await world.policy(runs=[{"ttl": "30d"}])
    gate.open.set()
    await world.reconcile()
    assert await world.names() == ["old"]
    assert (await world.status())["lastRun"]["generation"] == 2


async def test_a_store_that_fails_becomes_a_condition_and_is_tried_again(world: Any, monkeypatch: Any) -> None:
    await world.run("old", age_s=9 * DAY_S)
    await world.policy(runs=[{"ttl": "7d"}])

    async def fails(self: Pass) -> None:
        raise StoreUnavailableError("the disk is full; make room")

    with monkeypatch.context() as patch:
        patch.setattr(Pass, "run", fails)
        with pytest.raises(StoreUnavailableError):
            await world.controller.reconcile(Request("", "default"))
    ready = condition_of(await world.client.require(KEY), "Ready")
    assert ready is not None
    assert ready["status"] == "False"
    assert "the disk is full" in ready["message"]
    await world.reconcile()
    assert await world.names() == []
    assert (await world.status())["phase"] == "Ready"


async def test_a_failure_in_the_background_becomes_a_condition_too(world: Any, monkeypatch: Any) -> None:
    await world.enforce(runs=[{"ttl": "7d"}])
    world.clock.advance(600)

    async def fails(self: Pass) -> None:
        raise StoreUnavailableError("the disk is full; make room")

    monkeypatch.setattr(Pass, "run", fails)
    await world.reconcile()
    ready = condition_of(await world.client.require(KEY), "Ready")
    assert ready is not None
    assert "the disk is full" in ready["message"]


async def test_a_policy_of_an_unreadable_spec_is_told_so(world: Any) -> None:
    policy = await world.policy(runs=[{"ttl": "7d"}])
    await world.client.update(policy.evolve(spec={"runs": 5}, resource_version=""))
    await world.reconcile()
    ready = condition_of(await world.client.require(KEY), "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")


async def test_policies_take_turns_in_one_process(world: Any) -> None:
    await world.run("old", age_s=9 * DAY_S)
    await world.event("e", age_s=9 * DAY_S)
    await world.policy("a", runs=[{"ttl": "7d"}])
    await world.policy("b", events={"ttl": "7d"})
    await asyncio.gather(world.reconcile("a"), world.reconcile("b"))
    assert (await world.names(), await world.names("Event")) == ([], [])
    assert (await world.status("a"))["removed"]["total"] == 1
    assert (await world.status("b"))["removed"]["total"] == 1


# ------------------------------------------------------------------------------------------------- a whole runtime


@pytest.fixture
async def runtime(tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RuntimeManager]:
    plugins = PluginManager(discover=False, extra=[("retention", hooks)])
    config = Config.load(tmp_path, env={"KASTRA_CONFIG_HOME": str(tmp_path / "home")})
    store = await open_store(f"file:{tmp_path}/kastra.db", {"clock": clock, "durability": "relaxed"})
    async with RuntimeManager(
        store=store, config=config, plugins=plugins, registry=registry_of(plugins), clock=clock
    ) as runtime:
        yield runtime


async def test_a_running_runtime_enforces_a_policy_as_soon_as_it_is_applied(
    runtime: RuntimeManager, clock: Any, world_of: Callable[..., Any]
) -> None:
    world = world_of(runtime.store, clock)
    await world.run("old", age_s=9 * DAY_S)
    await world.run("young", age_s=DAY_S)
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "RetentionPolicy", "metadata": {"name": "default"}}
    applied = await runtime.apply_resource({**manifest, "spec": {"runs": [{"ttl": "7d"}]}})
    assert applied.resource.status["lastRun"]["removed"] == {"runs": 1}
    assert await world.names() == ["young"]


async def test_a_running_runtime_enforces_what_became_due(
    runtime: RuntimeManager, clock: Any, world_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kastra_plugin_retention.controller._LOOK_AGAIN_S", 0.01)
    world = world_of(runtime.store, clock)
    manifest = {"apiVersion": "mastra.ai/v1", "kind": "RetentionPolicy", "metadata": {"name": "default"}}
    await runtime.apply_resource({**manifest, "spec": {"runs": [{"ttl": "7d"}]}})
    watch = runtime.client.watch(runtime.registry.resolve("runs"))
    await world.run("old", age_s=DAY_S)
    clock.advance(7 * DAY_S)
    async with asyncio.timeout(20):
        async for event in watch:
            if event.type == "DELETED":
                break
    assert await world.names() == []


async def test_a_running_runtime_enforces_a_policy_of_one_second_every_second(tmp_path: Path) -> None:
    plugins = PluginManager(discover=False, extra=[("retention", hooks)])
    config = Config.load(tmp_path, env={"KASTRA_CONFIG_HOME": str(tmp_path / "home")})
    store = await open_store(f"file:{tmp_path}/kastra.db", {"durability": "relaxed"})
    async with RuntimeManager(store=store, config=config, plugins=plugins, registry=registry_of(plugins)) as runtime:
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "RetentionPolicy", "metadata": {"name": "default"}}
        watch = runtime.client.watch(runtime.registry.resolve("retention"))
        await runtime.apply_resource({**manifest, "spec": {"interval": "1s", "runs": [{"ttl": "7d"}]}})
        began, times = asyncio.get_running_loop().time(), set[str]()
        async with asyncio.timeout(30):
            async for event in watch:
                times.add(event.resource.status.get("lastRunTime", ""))
                if len(times - {""}) == 4:
                    break
        took_s = asyncio.get_running_loop().time() - began
    assert took_s < 4.5  # three intervals and a half of one for a busy machine


async def test_other_tasks_get_their_turn_while_thousands_of_runs_go(
    runtime: RuntimeManager, clock: Any, world_of: Callable[..., Any]
) -> None:
    """A write beside a pass that removes 2,000 runs takes milliseconds, not the length of the pass."""
    world = world_of(runtime.store, clock)
    await asyncio.gather(*(world.run(f"r{number:04}", age_s=9 * DAY_S) for number in range(2000)))
    await world.policy(runs=[{"ttl": "7d"}])
    loop = asyncio.get_running_loop()
    waits: list[float] = []

    async def write() -> None:
        while True:
            began = loop.time()
            await world.event(f"e{len(waits)}")
            waits.append(loop.time() - began)

    writer = asyncio.create_task(write())
    await world.reconcile()
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    assert await world.names() == []
    waits.sort()
    assert len(waits) > 50
    assert waits[len(waits) // 2] < 0.25


async def test_memory_does_not_grow_with_the_number_of_runs(
    runtime: RuntimeManager, clock: Any, world_of: Callable[..., Any]
) -> None:
    import gc
    import tracemalloc

    world = world_of(runtime.store, clock)

    async def peak_bytes(count: int) -> int:
        for start in range(0, count, 500):
            await asyncio.gather(*(world.run(f"r{n:05}", age_s=n) for n in range(start, start + 500)))
        clock.advance(600)
        gc.collect()
        tracemalloc.start()
        try:
            await world.reconcile()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert len(await world.names()) == 100

    await world.enforce(runs=[{"maxCount": 100}])
    few = await peak_bytes(1000)
    await world.client.delete(KEY)
    for name in await world.names():
        await world.client.delete(ResourceKey("mastra.ai", "Run", "default", name))
    await world.enforce(runs=[{"maxCount": 100}])
    many = await peak_bytes(3000)
    assert many < 1.3 * few


async def test_a_restart_on_a_file_goes_on_with_the_interval(
    tmp_path: Path, clock: Any, world_of: Callable[..., Any]
) -> None:
    url = f"file:{tmp_path}/kastra.db"
    store = await open_store(url, {"clock": clock})
    first = world_of(store, clock)
    await first.run("one", age_s=9 * DAY_S)
    await first.enforce(runs=[{"ttl": "7d"}])
    await first.run("two", age_s=9 * DAY_S)
    await store.aclose()
    store = await open_store(url, {"clock": clock})
    try:
        second = world_of(store, clock)
        await second.reconcile()
        assert await second.names() == ["two"]
        clock.advance(600)
        await second.reconcile()
        assert await second.names() == []
        assert (await second.status())["removed"]["total"] == 2
    finally:
        await store.aclose()


async def test_a_store_that_is_closed_under_a_pass_ends_it(world: Any, gate: Any) -> None:
    gate.open.set()
    await world.enforce(runs=[{"ttl": "7d"}])
    await world.run("old", age_s=9 * DAY_S)
    world.clock.advance(600)
    gate.open.clear()
    await world.controller.reconcile(Request("", "default"))
    await gate.reached.wait()
    await world.store.aclose()
    gate.open.set()
    await world.controller.finished()
