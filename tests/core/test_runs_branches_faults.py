"""Branches of a run when commits are slow, the store fails, or what they call does not keep to the rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import Resource
from kastra_core.errors import KastraError, OperationError, StoreUnavailableError
from kastra_core.execution.state import RunState
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.protocols.store import AppendRecord, SendSignal, Signal
from kastra_core.runtime import RuntimeManager
from run_lab import Lab, World, started, stored


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    yield made
    await made.aclose()


def at_once(name: str, **more: Any) -> Any:
    return lambda ctx: ctx.perform("note", {"name": name, **more})


def state_of(runtime: RuntimeManager, run: Any) -> RunState:
    active = runtime.runs.find(run.uid)
    assert active is not None
    return active.state


class Stubborn(World):
    """The operation ``stubborn`` does not let itself be cancelled."""

    async def note(self, ctx: OperationContext, arguments: dict[str, Any]) -> Any:
        if arguments["name"] == "stubborn":
            with contextlib.suppress(asyncio.CancelledError):
                self.entry("stubborn").set()
                await asyncio.Event().wait()
            return "done all the same"
        return await super().note(ctx, arguments)


async def test_a_run_has_one_commit_under_way_at_a_time(lab: Lab) -> None:
    under_way: Counter[str] = Counter()
    most = 0
    commit = lab.store.commit

    async def slow(operations: Sequence[Any]) -> list[Any]:
        nonlocal most
        recorded = not operations or isinstance(operations[0], AppendRecord)
        under_way["records"] += recorded
        most = max(most, under_way["records"])
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            return await commit(operations)
        finally:
            under_way["records"] -= recorded

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        for turns in range(6):
            await ctx.now()  # is written without being waited for
            for _ in range(turns):
                await asyncio.sleep(0)
            await ctx.perform("note", {"name": str(turns)})

    lab.store.commit = slow  # type: ignore[method-assign]
    _, run = await started(lab, program)
    await run.result()
    assert most == 1
    assert len(await lab.store.journal.records(run.uid)) == 6 * 2


async def test_a_store_that_fails_is_no_failure_that_a_runner_could_answer(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def waiting(inner: RunContext) -> Any:
            with contextlib.suppress(KastraError):
                return await inner.wait_signal("go")
            return await inner.perform("note", {"name": "instead"})

        out = await ctx.gather({"a": waiting, "b": waiting})
        await ctx.perform("note", {"name": str(out)})

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

        async def signals(self, run: str) -> Sequence[Signal]:
            raise StoreUnavailableError("it is away")

    journal = lab.store.journal
    lab.store.journal = Failing()
    runtime, run = await started(lab, program)
    assert "the run is not over" in (await run.status())["message"]
    assert lab.world.calls == []
    assert (await stored(runtime, run)).status["phase"] == "Running"


async def test_a_branch_that_cancels_itself_ends_the_run_whatever_waits_beside_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def odd(inner: RunContext) -> None:
            await inner.perform("note", {"name": "first"})
            raise asyncio.CancelledError

        await ctx.gather({"odd": odd, "waits": lambda inner: inner.wait_signal("go")})

    _, run = await started(lab, program)
    status = await asyncio.wait_for(run.status(), 10)
    assert (status["phase"], status["reason"]) == ("Failed", "RunnerBug")


@pytest.mark.parametrize("how", ["stop_on", "within"])
async def test_a_branch_whose_cancellation_was_swallowed_begins_nothing_more(lab: Lab, how: str) -> None:
    lab.world = Stubborn()

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def stubborn(inner: RunContext) -> None:
            await inner.perform("note", {"name": "stubborn"})
            await inner.perform("note", {"name": "more"})

        async def failing(inner: RunContext) -> None:
            await lab.world.entry("stubborn").wait()
            raise OperationError("it ends the other", reason="Stop")

        if how == "stop_on":
            return list(await ctx.gather({"s": stubborn, "f": failing}, stop_on=lambda _: True))
        try:
            await ctx.within(0.02, stubborn)
        except OperationError as error:
            return [error.reason]

    _, run = await started(lab, program)
    assert await run.result() == (["f"] if how == "stop_on" else ["Timeout"])
    assert "more" not in [name for name, _ in lab.world.calls]


async def test_a_signal_wakes_the_branch_that_waits_for_it_and_no_other(lab: Lab) -> None:
    begun: Counter[str] = Counter()

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def waiting(inner: RunContext, name: str) -> Any:
            begun[name] += 1
            got = await inner.wait_signal(name)
            await inner.perform("note", {"name": f"got {name}"})
            return got

        names = ["a", "b", "c"]
        branches: dict[str, Any] = {n: lambda inner, n=n: waiting(inner, n) for n in names}
        out = await ctx.gather({**branches, "works": at_once("works", gate=True)})
        return [out[name] for name in names]

    runtime, run = await started(lab, program)
    await lab.world.entry("works").wait()
    while len(state_of(runtime, run).parked) < 3:
        await asyncio.sleep(0)
    await runtime.runs.signal(run.key, "b", 2)
    await lab.world.entry("got b").wait()
    assert begun == {"a": 1, "b": 2, "c": 1}
    await runtime.runs.signal(run.key, "a", 1)
    await runtime.runs.signal(run.key, "c", 3)
    lab.world.gate("works").set()
    assert await run.result() == [1, 2, 3]


async def test_a_branch_that_was_just_woken_counts_as_one_that_works(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def first(inner: RunContext) -> None:
            await inner.wait_signal("a")
            await inner.perform("note", {"name": "long", "gate": True})

        async def second(inner: RunContext) -> None:
            await inner.wait_signal("b")
            await inner.perform("note", {"name": "got b"})

        await ctx.gather({"first": first, "second": second, "works": at_once("works", gate=True)})

    runtime, run = await started(lab, program)
    await lab.world.entry("works").wait()
    state = state_of(runtime, run)
    while len(state.parked) < 2:
        await asyncio.sleep(0)
    await lab.store.commit([SendSignal(run.uid, "a")])
    # What works is over in the turn in which the first is woken, before it had its own.
    lab.world.gate("works").set()
    state.tell("a")
    await lab.world.entry("long").wait()
    await runtime.runs.signal(run.key, "b")
    await asyncio.wait_for(lab.world.entry("got b").wait(), 10)
    lab.world.gate("long").set()
    await run.result()


async def test_a_signal_that_came_while_the_watch_was_broken_wakes_its_branch(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def waiting(inner: RunContext) -> None:
            await inner.wait_signal("go")
            await inner.perform("note", {"name": "gone"})

        await ctx.gather({"waits": waiting, "works": at_once("works", gate=True)})

    class Breaking:
        """The first watch of signals breaks when a signal comes."""

        watches = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

        def watch_signals(self) -> AsyncIterator[Signal]:
            self.watches += 1
            return self._broken() if self.watches == 1 else journal.watch_signals()

        async def _broken(self) -> AsyncIterator[Signal]:
            async for _ in journal.watch_signals():
                raise StoreUnavailableError("the watch broke")
            yield  # type: ignore[misc]  # makes it a generator

    journal = lab.store.journal
    lab.store.journal = Breaking()
    runtime, run = await started(lab, program)
    await lab.world.entry("works").wait()
    while not state_of(runtime, run).parked:
        await asyncio.sleep(0)
    await runtime.runs.signal(run.key, "go")
    await asyncio.wait_for(lab.world.entry("gone").wait(), 10)
    lab.world.gate("works").set()
    await run.result()


async def test_what_a_branch_remembers_is_remembered_once_though_it_is_begun_again(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def waiting(inner: RunContext) -> None:
            await inner.remember([{"role": "user", "content": "once"}])
            await inner.wait_signal("go")
            await inner.perform("note", {"name": "gone"})

        await ctx.gather({"waits": waiting, "works": at_once("works", gate=True)})

    runtime, run = await started(lab, program, thread="t")
    await lab.world.entry("works").wait()
    while not state_of(runtime, run).parked:
        await asyncio.sleep(0)
    await runtime.runs.signal(run.key, "go")
    await lab.world.entry("gone").wait()
    lab.world.gate("works").set()
    await run.result()
    messages = await lab.store.threads.messages("default", "t")
    assert [item.message["content"] for item in messages] == ["once"]


async def test_many_branches_that_begin_to_wait_read_the_signals_once(lab: Lab) -> None:
    reads = 0

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

        async def signals(self, run: str) -> Sequence[Signal]:
            nonlocal reads
            reads += 1
            await asyncio.sleep(0)
            return await journal.signals(run)

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        def waiting(number: int) -> Any:
            return lambda inner: inner.wait_signal(f"s{number}")

        out = await ctx.gather({str(number): waiting(number) for number in range(500)})
        return sum(out.values())

    journal = lab.store.journal
    lab.store.journal = Counting()
    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    assert reads < 10
    uid = run.uid
    await lab.store.commit([SendSignal(uid, f"s{number}", 1) for number in range(500)])
    assert await run.result() == 500


async def test_what_is_being_written_when_the_runtime_closes_is_written_before_the_run_is_given_up(lab: Lab) -> None:
    begun = asyncio.Event()
    commit = lab.store.commit

    async def slow(operations: Sequence[Any]) -> list[Any]:
        if isinstance(operations[0], AppendRecord):
            begun.set()
            await asyncio.sleep(0.1)  # longer than it takes to close
        return await commit(operations)

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.now()
        await asyncio.Event().wait()

    lab.store.commit = slow  # type: ignore[method-assign]
    runtime, run = await started(lab, program)
    await begun.wait()
    await runtime.runs.aclose()
    assert [record.path for record in await lab.store.journal.records(run.uid)] == ["/now#0"]
