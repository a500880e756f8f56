"""Branches of a run: deadlines, branches that end each other, branches that wake while others work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import Resource
from kastra_core.errors import OperationError, RunCancelledError, RunFailedError, UserError, ValidationError
from kastra_core.execution.handle import RunOptions
from kastra_core.protocols.runner import RunContext
from kastra_core.runtime import RuntimeManager
from run_lab import JOB, Lab, started, stored


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    yield made
    await made.aclose()


async def again(lab: Lab, key: Any) -> tuple[RuntimeManager, Any]:
    """A new runtime that took the run over."""
    runtime = await lab.runtime()
    await runtime.runs.start()
    return runtime, runtime.runs.attach(key)


def at_once(name: str, **more: Any) -> Any:
    return lambda ctx: ctx.perform("note", {"name": name, **more})


# ------------------------------------------------------------------------------------------------- deadlines


async def test_what_is_under_way_at_a_deadline_is_cancelled_and_the_timeout_is_recorded(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        try:
            await ctx.within(0.05, at_once("slow", gate=True))
        except OperationError as error:
            found = [error.reason, error.retryable]
        await ctx.perform("note", {"name": "after", "gate": True})
        return found

    runtime, run = await started(lab, program)
    await lab.world.entry("after").wait()
    await lab.crash(runtime)
    lab.world.gate("after").set()
    lab.world.gate("slow").set()
    _, handle = await again(lab, run.key)
    assert await handle.result() == ["Timeout", True]
    assert [name for name, _ in lab.world.calls] == ["slow", "after", "after"], "what was cancelled is not begun again"


async def test_a_deadline_passes_while_no_process_works_on_the_run(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def body(inner: RunContext) -> Any:
            first = await inner.perform("note", {"name": "first"})
            await inner.perform("note", {"name": "second", "gate": True})
            return first

        try:
            return await ctx.within(30, body)
        except OperationError as error:
            return error.reason

    runtime, run = await started(lab, program)
    await lab.world.entry("second").wait()
    await lab.crash(runtime)  # moves the clock by 60 s
    _, handle = await again(lab, run.key)
    assert await handle.result() == "Timeout"
    assert [name for name, _ in lab.world.calls] == ["first", "second"]


async def test_a_body_that_was_done_in_time_stays_done_however_late_it_is_replayed(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        got = await ctx.within(30, at_once("quick"))
        await ctx.perform("note", {"name": "after", "gate": True})
        return got["did"]

    runtime, run = await started(lab, program)
    await lab.world.entry("after").wait()
    await lab.crash(runtime)
    lab.world.gate("after").set()
    _, handle = await again(lab, run.key)
    assert await handle.result() == "quick"


async def test_a_deadline_ends_a_wait_that_left_memory(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        try:
            await ctx.within(100, lambda inner: inner.wait_signal("go"))
        except OperationError as error:
            return error.reason

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    status = (await stored(runtime, run)).status
    assert (status["phase"], status["wakeAtS"]) == ("Suspended", lab.world.now + 100)
    assert status["awaiting"] == [{"signal": "go"}]
    lab.world.now += 101
    runtime.runs.look_again()
    assert await run.result() == "Timeout"


async def test_the_inner_deadline_is_the_inner_bodys_and_the_outer_one_ends_both(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def inner(scope: RunContext, seconds: float) -> str:
            try:
                await scope.within(seconds, at_once("slow", gate=True))
            except OperationError:
                return "inner"
            return "none"

        out = []
        for outer_s, inner_s in ((5.0, 0.05), (0.05, 5.0)):
            try:
                out.append(await ctx.within(outer_s, lambda scope, s=inner_s: inner(scope, s)))  # type: ignore[misc]
            except OperationError:
                out.append("outer")
        return out

    _, run = await started(lab, program)
    assert await run.result() == ["inner", "outer"]


async def test_a_child_that_was_called_within_a_deadline_is_cancelled_with_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            return await ctx.wait_signal("never")
        try:
            await ctx.within(50, lambda inner: inner.call(runtime.reference("jobs/job"), "child"))
        except OperationError as error:
            await ctx.wait_signal("end")
            return error.reason

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    lab.world.now += 51
    runtime.runs.look_again()
    for _ in range(500):
        found = await runtime.store.resources.list("mastra.ai", "Run")
        phases = {item.metadata.name: item.status["phase"] for item in found.items}
        if sorted(phases.values()) == ["Cancelled", "Suspended"]:
            break
        await asyncio.sleep(0.01)
    assert phases[run.name] == "Suspended"
    await runtime.runs.signal(run.key, "end")
    assert await run.result() == "Timeout"


# ------------------------------------------------------------------------------------------------- stopping


async def stop_program(ctx: RunContext, target: Resource, input: Any) -> Any:
    async def bad(inner: RunContext) -> Any:
        inner.step()
        await inner.perform("note", {"name": "early"})
        await inner.perform("note", {"name": "bad", "fail": True})

    async def slow(inner: RunContext) -> Any:
        inner.step()
        await inner.perform("note", {"name": "slow1"})
        await inner.perform("note", {"name": "slow2", "gate": True})

    found = await ctx.gather({"slow": slow, "bad": bad}, stop_on=lambda error: isinstance(error, OperationError))
    await ctx.perform("note", {"name": "after", "gate": True})
    return {name: getattr(error, "reason", None) for name, error in found.items()}


async def test_a_branch_that_fails_ends_the_others_and_a_replay_does_not_begin_them_again(lab: Lab) -> None:
    runtime, run = await started(lab, stop_program)
    await lab.world.entry("after").wait()
    records = {line.path: line.record for line in await runtime.store.journal.records(run.uid)}
    assert records["/all#0"] == {"by": "bad", "s": 1}
    await lab.crash(runtime)
    lab.world.gate("after").set()
    other, handle = await again(lab, run.key)
    assert await handle.result() == {"bad": "Broken"}
    names = [name for name, _ in lab.world.calls]
    assert sorted(names) == ["after", "after", "bad", "early", "slow1", "slow2"]
    assert (await stored(other, run)).status["usage"]["steps"] == 2, (
        "steps of what was ended are counted after a restart"
    )


@pytest.mark.parametrize("how", ["deadline", "branch"])
async def test_a_child_is_cancelled_when_its_branch_is_ended_before_it_is_begun_again(lab: Lab, how: str) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            return await ctx.perform("note", {"name": "child", "gate": True})

        async def call(inner: RunContext) -> Any:
            return await inner.call(runtime.reference("jobs/job"), "child", name="ask")

        async def first(inner: RunContext) -> Any:
            await inner.perform("note", {"name": "first", "gate": True})
            raise OperationError("enough")

        async def both(inner: RunContext) -> Any:
            stop_on = (lambda error: True) if how == "branch" else None
            return await inner.gather({"first": first, "call": call}, stop_on=stop_on)

        if how == "branch":
            await both(ctx)
        else:
            with pytest.raises(OperationError):
                await ctx.within(30, both)
        return "done"

    lab.world.program = program
    runtime: RuntimeManager = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    run = await runtime.start_run("jobs/job")
    await lab.world.entry("child").wait()
    await lab.world.entry("first").wait()
    await lab.crash(runtime)
    if how == "branch":
        lab.world.gate("first").set()
    else:
        lab.world.now += 1
    runtime = await lab.runtime()
    await runtime.runs.start()
    status = await runtime.runs.wait(run.key)
    assert status["output"] == "done"
    async with asyncio.timeout(3):
        await runtime.runs.drain()
    [child] = [r for r in (await runtime.store.resources.list("mastra.ai", "Run")).items if "parent" in r.spec]
    assert child.status["phase"] == "Cancelled"


async def test_without_a_failure_nothing_more_is_recorded(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        found = await ctx.gather({"a": at_once("a"), "b": at_once("b")}, stop_on=lambda error: True)
        return sorted(found)

    runtime, run = await started(lab, program)
    assert await run.result() == ["a", "b"]
    paths = [line.path for line in await runtime.store.journal.records(run.uid)]
    assert sorted(paths) == ["/all#0[a]/note#0", "/all#0[b]/note#0"]


async def test_at_most_so_many_branches_are_under_way_those_that_wait_included(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        def branch(number: int) -> Any:
            async def run(inner: RunContext) -> Any:
                await inner.perform("note", {"name": f"begin{number}"})
                return await inner.wait_signal(f"go{number}")

            return run

        return await ctx.gather({str(number): branch(number) for number in range(3)}, concurrency=1)

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    assert [name for name, _ in lab.world.calls] == ["begin0"]
    for number in range(3):
        await runtime.runs.signal(run.key, f"go{number}", number)
        if number < 2:
            await lab.world.entry(f"begin{number + 1}").wait()
            await runtime.runs.drain()
    assert await run.result() == {"0": 0, "1": 1, "2": 2}
    assert [name for name, _ in lab.world.calls] == ["begin0", "begin1", "begin2"]


# ------------------------------------------------------------------------------------------------- waking


@pytest.mark.parametrize("nested", [False, True])
async def test_a_branch_that_waits_goes_on_at_its_signal_while_another_works(lab: Lab, nested: bool) -> None:
    async def waiting(inner: RunContext) -> Any:
        inner.step()
        await inner.perform("note", {"name": "before"})
        got = await inner.wait_signal("go", details={"message": "may I?"})
        await inner.perform("note", {"name": "woken"})
        return got

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        branch: Any = waiting
        if nested:
            branch = lambda inner: inner.gather({"x": waiting, "y": lambda c: c.wait_signal("go2")})  # noqa: E731
        return await ctx.gather({"wait": branch, "work": at_once("long", gate=True)})

    runtime, run = await started(lab, program)
    await lab.world.entry("long").wait()
    await lab.world.entry("before").wait()
    await runtime.runs.signal(run.key, "go", 5)
    async with asyncio.timeout(5):
        await lab.world.entry("woken").wait()
    if nested:
        await runtime.runs.signal(run.key, "go2", 6)
    lab.world.gate("long").set()
    result = await run.result()
    assert result["wait"] == ({"x": 5, "y": 6} if nested else 5)
    assert [name for name, _ in lab.world.calls].count("before") == 1
    assert (await stored(runtime, run)).status["usage"]["steps"] == 1, "a branch that is begun again counts once"


async def test_a_branch_that_sleeps_goes_on_at_its_time_while_another_works(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kastra_core.execution.context.IN_MEMORY_WAIT_S", 0.0)

    async def sleeping(inner: RunContext) -> Any:
        lab.world.now += 0.05  # the clock of the test does not go by itself
        await inner.sleep(0.05)
        await inner.perform("note", {"name": "woken"})

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.gather({"sleep": sleeping, "work": at_once("long", gate=True)})

    _, run = await started(lab, program)
    await lab.world.entry("long").wait()
    async with asyncio.timeout(5):
        await lab.world.entry("woken").wait()
    lab.world.gate("long").set()
    await run.result()


async def test_when_all_branches_wait_the_run_leaves_memory_and_shows_what_it_awaits(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.gather(
            {
                "a": lambda inner: inner.wait_signal("a", details={"message": "A?", "schema": {"type": "string"}}),
                "b": lambda inner: inner.wait_signal("b", timeout_s=500),
            }
        )

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    status = (await stored(runtime, run)).status
    assert status["awaiting"] == [{"signal": "a", "message": "A?", "schema": {"type": "string"}}, {"signal": "b"}]
    assert status["wakeAtS"] == lab.world.now + 500
    with pytest.raises(UserError, match="awaits a, b; say which"):
        await runtime.runs.resume(run.key, 1)
    assert await runtime.runs.resume(run.key, "x", signal="a") == "a"
    for _ in range(500):
        await runtime.runs.drain()
        if (await stored(runtime, run)).status.get("awaiting") == [{"signal": "b"}]:
            break
        await asyncio.sleep(0.01)
    assert await runtime.runs.resume(run.key, 2) == "b"
    assert await run.result() == {"a": "x", "b": 2}


async def test_a_run_that_awaits_nothing_cannot_be_resumed(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "slow", "gate": True})

    runtime, run = await started(lab, program)
    with pytest.raises(UserError, match="awaits no signal now"):
        await runtime.runs.resume(run.key)
    lab.world.gate("slow").set()
    await run.result()


async def test_the_kind_refuses_a_payload_before_it_is_sent(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.wait_signal("go", details={"least": 3})

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    with pytest.raises(ValidationError, match="at least 3"):
        await runtime.runs.resume(run.key, 2)
    assert await runtime.store.journal.signals(run.uid) == ()
    await runtime.runs.resume(run.key, 3)
    assert await run.result() == 3


# ------------------------------------------------------------------------------------------------- children, pins


async def test_a_child_that_starts_after_a_change_runs_what_its_parent_pinned(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if target.metadata.name == "child":
            return target.spec["version"]
        await ctx.wait_signal("go")
        return await ctx.call(runtime.reference("jobs/child"), None)

    def child(version: int) -> dict[str, Any]:
        return {**JOB, "metadata": {"name": "child"}, "spec": {"version": version}}

    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([{**JOB, "spec": {"jobs": ["child"]}}, child(1)], wait=False)
    run = await runtime.start_run("jobs/job")
    await runtime.runs.drain()
    await runtime.apply([child(2)], wait=False)
    await runtime.runs.signal(run.key, "go")
    assert await run.result() == 1
    other = await runtime.start_run("jobs/job")
    await runtime.runs.drain()
    await runtime.client.delete(runtime.reference("jobs/child").key)
    await runtime.runs.signal(other.key, "go")
    assert await other.result() == 2, "what was deleted meanwhile is run all the same"


async def test_a_child_that_cannot_be_started_is_a_failure_that_the_runner_may_handle(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        try:
            await ctx.call(runtime.reference("jobs/missing"), None)
        except OperationError as error:
            return error.reason

    runtime, run = await started(lab, program)
    assert await run.result() == "NotFound"


async def test_events_of_a_child_come_to_who_listens_to_its_parent(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            await ctx.emit({"type": "text", "text": "hi"})
            return 1
        return await ctx.call(runtime.reference("jobs/job"), "child", name="ask")

    seen: list[Any] = []
    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    run = await runtime.runs.start_run(runtime.reference("jobs/job"), None, listener=seen.append)
    await run.result()
    child = next(event for event in seen if event["type"] == "child")
    assert (child["path"], child["event"]) == ("/ask#0", {"type": "text", "text": "hi"})


async def test_events_of_a_child_that_was_woken_come_too(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            await ctx.wait_signal("go")
            await ctx.emit({"type": "text", "text": "awake"})
            return 1
        found = await ctx.gather(
            {
                "ask": lambda inner: inner.call(runtime.reference("jobs/job"), "child"),
                "work": at_once("long", gate=True),
            }
        )
        return found["ask"]

    seen: list[Any] = []
    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    run = await runtime.runs.start_run(runtime.reference("jobs/job"), None, listener=seen.append)
    await lab.world.entry("long").wait()
    for _ in range(500):
        found = (await runtime.store.resources.list("mastra.ai", "Run")).items
        waiting = [item.key for item in found if item.status.get("phase") == "Suspended"]
        if waiting:
            break
        await asyncio.sleep(0.01)
    await runtime.runs.signal(waiting[0], "go")
    await runtime.runs.wait(waiting[0])
    lab.world.gate("long").set()
    assert await run.result() == 1
    assert {"type": "text", "text": "awake"} in [event.get("event") for event in seen]


async def test_a_run_can_begin_with_the_records_of_another_one_without_paying_for_them(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        first = await ctx.perform("think", {"name": "first", "usage": {"input_tokens": 7}}, name="first")
        second = await ctx.perform("think", {"name": "second", "usage": {"input_tokens": 5}}, name="second")
        return [first["did"], second["did"]]

    runtime, run = await started(lab, program)
    await run.result()
    records = {line.path: line.record for line in await runtime.store.journal.records(run.uid)}
    options = RunOptions(journal={"/first#0": records["/first#0"]}, annotations={"mastra.ai/retry-of": run.name})
    retried = await runtime.runs.start_run(runtime.reference("jobs/job"), None, options)
    assert await retried.result() == ["first", "second"]
    assert [name for name, _ in lab.world.calls] == ["first", "second", "second"]
    found = await stored(runtime, retried)
    assert found.metadata.annotations["mastra.ai/retry-of"] == run.name
    assert found.status["usage"]["inputTokens"] == 5


# ------------------------------------------------------------------------------------------------- cancelling


async def test_cancelling_reaches_branches_that_wait_beside_one_that_works(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.gather({"wait": lambda c: c.wait_signal("x"), "work": at_once("long", gate=True)})

    runtime, run = await started(lab, program)
    await lab.world.entry("long").wait()
    await runtime.runs.cancel(run.key)
    with pytest.raises(RunCancelledError):
        await run.result()


async def test_a_limit_in_a_branch_ends_the_run_whatever_waits(lab: Lab) -> None:
    async def greedy(inner: RunContext) -> Any:
        while True:
            inner.step()
            await inner.perform("note", {"name": "more"})

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.gather({"wait": lambda c: c.wait_signal("x"), "work": greedy})

    _, run = await started(lab, program, limits={"maxSteps": 4})
    with pytest.raises(RunFailedError) as caught:
        await run.result()
    assert caught.value.reason == "LimitExceeded"
    assert len(lab.world.calls) == 4


async def test_labels_that_no_resource_may_bear_are_refused(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return None

    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    with pytest.raises(ValidationError, match="no valid label value"):
        await runtime.start_run("jobs/job", labels={"app": "a b"})
    run = await runtime.start_run("jobs/job", labels={"app": "kitchen"})
    await run.result()
    assert (await stored(runtime, run)).metadata.labels == {"app": "kitchen"}


async def test_a_time_limit_that_is_over_ends_a_run_that_would_wait_on(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.sleep(3600)

    runtime, run = await started(lab, program, limits={"timeoutS": 30})
    await runtime.runs.drain()
    assert (await stored(runtime, run)).status["wakeAtS"] == lab.world.now + 30
    lab.world.now += 31
    runtime.runs.look_again()
    async with asyncio.timeout(5):
        with pytest.raises(RunFailedError, match="timeoutS=30 is reached") as caught:
            await run.result()
    assert caught.value.reason == "LimitExceeded"


@pytest.mark.parametrize("crash", [False, True])
async def test_a_child_that_uses_up_its_parents_limit_ends_the_parent_whatever_it_handles(
    lab: Lab, crash: bool
) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            while True:
                await ctx.perform("think", {"name": "more"})
        try:
            await ctx.call(runtime.reference("jobs/job"), "child")
        except OperationError:
            return "went on"

    runtime, run = await started(lab, program, limits={"maxModelCalls": 2})
    with pytest.raises(RunFailedError, match="the limit maxModelCalls=2 is reached") as caught:
        await run.result()
    assert caught.value.reason == "LimitExceeded"
    assert len(lab.world.calls) == 2
    if crash:  # the same from the record
        records = {line.path: line.record for line in await runtime.store.journal.records(run.uid)}
        options = RunOptions(journal=records)
        again_run = await runtime.runs.start_run(runtime.reference("jobs/job"), None, options)
        with pytest.raises(RunFailedError, match="maxModelCalls=2"):
            await again_run.result()


async def test_descendants_bear_the_name_of_the_run_that_nobody_called(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.call(runtime.reference("jobs/job"), input - 1) if input else "deep"

    runtime, run = await started(lab, program, 4, name="the-run")
    assert await run.result() == "deep"
    names = sorted(item.metadata.name for item in (await runtime.store.resources.list("mastra.ai", "Run")).items)
    assert len(names) == 5
    assert all(
        name == "the-run" or (name.startswith("the-run-") and len(name) == len("the-run-") + 12) for name in names
    )


async def test_runs_in_a_circle_name_the_resource_once(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        try:
            return await ctx.call(runtime.reference("jobs/job"), None)
        except OperationError as error:
            raise RunFailedError(error.message, reason=error.reason) from error

    runtime, run = await started(lab, program)
    with pytest.raises(RunFailedError, match="deep, at most 16") as caught:
        await run.result()
    assert str(caught.value).count("Job default/job: ") <= 1
