"""Durable runs: journal, replay, suspension, children, limits, cancellation, take-over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import (
    NotFoundError,
    NotReadyError,
    OperationError,
    RunCancelledError,
    RunFailedError,
    UserError,
)
from kastra_core.protocols.runner import RunContext
from run_lab import JOB, Lab, started, stored


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    yield made
    await made.aclose()


async def test_a_run_ends_with_the_output_of_its_runner(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return {"got": input, "target": target.metadata.name}

    runtime, run = await started(lab, program, {"x": 1})
    assert await run.result() == {"got": {"x": 1}, "target": "job"}
    status = (await stored(runtime, run)).status
    assert status["phase"] == "Succeeded"
    assert status["conditions"][0]["type"] == "Complete"
    assert status["conditions"][0]["status"] == "True"
    assert await runtime.store.journal.claims() == []


async def test_an_operation_is_done_once_and_answered_from_the_journal_after_a_crash(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        first = await ctx.perform("note", {"name": "first"})
        second = await ctx.perform("note", {"name": "second", "gate": True})
        return [first["did"], second["did"]]

    runtime, run = await started(lab, program)
    await lab.world.entry("second").wait()
    await lab.crash(runtime)
    lab.world.gate("second").set()
    other = await lab.runtime()
    await other.runs.start()
    assert other.runs.resumed == [run.key]
    handle = other.runs.attach(run.key)
    assert handle is not None
    assert await handle.result() == ["first", "second"]
    assert [name for name, _ in lab.world.calls] == ["first", "second", "second"]
    assert lab.world.keys[1] == lab.world.keys[2], "the repeated operation has the same idempotency key"
    assert lab.world.keys[0] != lab.world.keys[1]


async def test_parallel_branches_resume_by_path_whatever_their_speed(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        async def branch(inner: RunContext, name: str) -> Any:
            await inner.perform("note", {"name": f"{name}1", "gate": name == "slow"})
            return (await inner.perform("note", {"name": f"{name}2", "gate": name == "fast"}))["did"]

        return await ctx.gather(
            {"slow": lambda inner: branch(inner, "slow"), "fast": lambda inner: branch(inner, "fast")}
        )

    runtime, run = await started(lab, program)
    await lab.world.entry("fast2").wait()
    await lab.crash(runtime)
    for name in ("slow1", "fast2"):
        lab.world.gate(name).set()
    other = await lab.runtime()
    await other.runs.start()
    handle = other.runs.attach(run.key)
    assert handle is not None
    assert await handle.result() == {"slow": "slow2", "fast": "fast2"}
    done = [name for name, _ in lab.world.calls]
    assert done.count("fast1") == 1
    assert done.count("slow1") == 2
    assert done.count("fast2") == 2
    assert done.count("slow2") == 1


async def test_a_quick_branch_is_recorded_while_a_slow_one_is_under_way(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.gather(
            {
                "a": lambda inner: inner.perform("note", {"name": "quick"}),
                "b": lambda inner: inner.perform("note", {"name": "slow", "gate": True}),
            }
        )

    runtime, run = await started(lab, program)
    await lab.world.entry("slow").wait()
    for _ in range(100):
        if await runtime.store.journal.records(run.uid):
            break
        await asyncio.sleep(0)
    [record] = await runtime.store.journal.records(run.uid)
    assert "quick" in str(record.record)
    lab.world.gate("slow").set()
    await run.result()


async def test_a_failed_operation_is_recorded_and_raised_again_on_replay(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        try:
            await ctx.perform("note", {"name": "bad", "fail": True})
        except OperationError as error:
            caught = (error.reason, error.message, error.retryable)
        await ctx.perform("note", {"name": "wait", "gate": True})
        return list(caught)

    runtime, run = await started(lab, program)
    await lab.world.entry("wait").wait()
    await lab.crash(runtime)
    lab.world.gate("wait").set()
    other = await lab.runtime()
    await other.runs.start()
    handle = other.runs.attach(run.key)
    assert handle is not None
    assert await handle.result() == ["Broken", "it broke", True]
    assert [name for name, _ in lab.world.calls].count("bad") == 1


async def test_a_bug_in_an_operation_fails_the_run_with_a_reason(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.perform("note", {"name": "x", "bug": True})

    runtime, run = await started(lab, program)
    with pytest.raises(RunFailedError, match="ZeroDivisionError: oops"):
        await run.result()
    assert (await stored(runtime, run)).status["reason"] == "OperationBug"


async def test_a_bug_in_a_runner_fails_the_run_with_a_reason(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        raise KeyError("nothing")

    runtime, run = await started(lab, program)
    with pytest.raises(RunFailedError, match="KeyError"):
        await run.result()
    assert (await stored(runtime, run)).status["reason"] == "RunnerBug"


async def test_an_unknown_operation_names_what_is_offered(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.perform("nota", {})

    _, run = await started(lab, program)
    with pytest.raises(RunFailedError, match="did you mean 'note'"):
        await run.result()


async def test_at_most_once_is_not_repeated_when_its_outcome_is_unknown(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        try:
            await ctx.perform("note", {"name": "pay", "gate": True}, at_most_once=True)
        except OperationError as error:
            return error.reason
        return "paid"

    runtime, run = await started(lab, program)
    await lab.world.entry("pay").wait()
    await lab.crash(runtime)
    other = await lab.runtime()
    await other.runs.start()
    handle = other.runs.attach(run.key)
    assert handle is not None
    assert await handle.result() == "OutcomeUnknown"
    assert lab.world.calls == [("pay", None)]


@pytest.mark.parametrize(
    ("limits", "operation", "allowed", "name"),
    [
        ({"maxModelCalls": 2}, "think", 2, "maxModelCalls"),
        ({"maxToolCalls": 3}, "use", 3, "maxToolCalls"),
        ({"maxModelCalls": 0}, "think", 0, "maxModelCalls"),
        ({"maxTokens": 25}, "think", 3, "maxTokens"),
        ({"maxCost": 0.5}, "think", 2, "maxCost"),
    ],
)
async def test_a_limit_stops_an_endless_loop_within_one_unit(
    lab: Lab, limits: dict[str, Any], operation: str, allowed: int, name: str
) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        while True:
            await ctx.perform(operation, {"name": "x", "usage": {"input_tokens": 5, "output_tokens": 5, "cost": 0.25}})

    runtime, run = await started(lab, program, limits=limits)
    with pytest.raises(RunFailedError, match=name):
        await run.result()
    assert len(lab.world.calls) == allowed
    status = (await stored(runtime, run)).status
    assert status["reason"] == "LimitExceeded"
    assert status["conditions"][0]["reason"] == "LimitExceeded"


async def test_parallel_operations_do_not_slip_past_a_limit(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.gather({str(i): lambda inner: inner.perform("use", {"name": "x"}) for i in range(10)})

    _, run = await started(lab, program, limits={"maxToolCalls": 4})
    with pytest.raises(RunFailedError, match="maxToolCalls"):
        await run.result()
    assert len(lab.world.calls) <= 4


async def test_steps_are_limited_to_exactly_the_number(lab: Lab) -> None:
    seen: list[int] = []

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        while True:
            ctx.step()
            seen.append(1)

    _, run = await started(lab, program, limits={"maxSteps": 7})
    with pytest.raises(RunFailedError, match="maxSteps"):
        await run.result()
    assert len(seen) == 7


async def test_limits_count_what_was_used_before_a_crash(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        for at in range(10):
            await ctx.perform("think", {"name": f"n{at}", "gate": at == 1})

    runtime, run = await started(lab, program, limits={"maxModelCalls": 3})
    await lab.world.entry("n1").wait()
    await lab.crash(runtime)
    lab.world.gate("n1").set()
    other = await lab.runtime()
    await other.runs.start()
    handle = other.runs.attach(run.key)
    assert handle is not None
    with pytest.raises(RunFailedError, match="maxModelCalls"):
        await handle.result()
    assert [name for name, _ in lab.world.calls] == ["n0", "n1", "n1", "n2"]


async def test_wall_time_is_limited(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})

    _, run = await started(lab, program, limits={"timeoutS": 0.05})
    with pytest.raises(RunFailedError, match="timeoutS"):
        await run.result()


async def test_an_unknown_limit_is_refused_with_the_nearest(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return None

    with pytest.raises(UserError, match="did you mean 'maxSteps'"):
        await started(lab, program, limits={"maxStep": 1})


async def test_a_run_is_cancelled_in_the_middle_of_an_operation(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})

    runtime, run = await started(lab, program)
    await lab.world.entry("x").wait()
    await run.cancel()
    with pytest.raises(RunCancelledError):
        await run.result()
    assert (await stored(runtime, run)).status["phase"] == "Cancelled"


async def test_a_run_is_cancelled_from_another_process(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})

    _, run = await started(lab, program)
    await lab.world.entry("x").wait()
    other = await lab.runtime()
    await other.runs.cancel(run.key)
    assert (await run.status())["phase"] == "Cancelled"


async def test_a_long_sleep_leaves_memory_and_ends_at_its_instant(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.sleep(3600)
        return "awake"

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    status = (await stored(runtime, run)).status
    assert status["phase"] == "Suspended"
    assert status["wakeAtS"] == pytest.approx(lab.world.now + 3600)
    assert runtime.runs.active == []
    lab.world.now += 3599
    runtime.runs.look_again()
    await asyncio.sleep(0.01)
    assert runtime.runs.active == []
    lab.world.now += 2
    runtime.runs.look_again()
    assert await run.result() == "awake"


async def test_a_sleeping_run_wakes_in_another_process(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.sleep(3600)
        return "awake"

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    await lab.crash(runtime)
    lab.world.now += 7200
    other = await lab.runtime()
    await other.runs.start()
    assert (await other.runs.wait(run.key))["output"] == "awake"


async def test_a_run_waits_for_a_signal_without_a_task(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        answer = await ctx.wait_signal("approve")
        again = await ctx.wait_signal("approve")
        return [answer, again]

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    assert (await stored(runtime, run)).status["phase"] == "Suspended"
    assert await runtime.runs.signal(run.key, "approve", {"by": "me"}, signal_id="1") is True
    assert await runtime.runs.signal(run.key, "approve", {"by": "me"}, signal_id="1") is False
    await runtime.runs.signal(run.key, "other", 1)
    await runtime.runs.signal(run.key, "approve", 2)
    assert await run.result() == [{"by": "me"}, 2]


async def test_a_signal_may_come_before_the_run_waits_for_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})
        return await ctx.wait_signal("go")

    runtime, run = await started(lab, program)
    await lab.world.entry("x").wait()
    await runtime.runs.signal(run.key, "go", "early")
    lab.world.gate("x").set()
    assert await run.result() == "early"


async def test_waiting_for_a_signal_ends_in_time(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        try:
            return await ctx.wait_signal("never", timeout_s=100)
        except OperationError as error:
            return error.reason

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    lab.world.now += 101
    runtime.runs.look_again()
    assert await run.result() == "Timeout"


async def test_a_suspended_run_is_cancelled(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return await ctx.wait_signal("never")

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    await runtime.runs.cancel(run.key)
    assert (await run.status())["phase"] == "Cancelled"


async def test_a_child_run_gives_its_output_and_its_use(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            await ctx.perform("think", {"name": "t", "usage": {"input_tokens": 3, "output_tokens": 4}})
            return "from the child"
        return await ctx.call(Reference(kind="Job", namespace="default", name="job"), "child")

    runtime, run = await started(lab, program)
    assert await run.result() == "from the child"
    usage = (await stored(runtime, run)).status["usage"]
    assert (usage["modelCalls"], usage["inputTokens"]) == (1, 3)
    runs = (await runtime.store.resources.list("mastra.ai", "Run")).items
    assert len(runs) == 2
    child = next(r for r in runs if "parent" in r.spec)
    assert child.spec["parent"]["run"] == run.uid


async def test_a_finished_child_is_not_run_again_after_a_crash(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            await ctx.perform("note", {"name": "inner"})
            return "c"
        out = await ctx.call(Reference(kind="Job", namespace="default", name="job"), "child")
        await ctx.perform("note", {"name": "outer", "gate": True})
        return out

    runtime, run = await started(lab, program)
    await lab.world.entry("outer").wait()
    await lab.crash(runtime)
    lab.world.gate("outer").set()
    other = await lab.runtime()
    await other.runs.start()
    assert (await other.runs.wait(run.key))["output"] == "c"
    assert [name for name, _ in lab.world.calls] == ["inner", "outer", "outer"]


async def test_a_parent_and_its_child_both_resume_after_a_crash(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            await ctx.perform("note", {"name": "inner", "gate": True})
            return "c"
        return await ctx.call(Reference(kind="Job", namespace="default", name="job"), "child")

    runtime, run = await started(lab, program)
    await lab.world.entry("inner").wait()
    await lab.crash(runtime)
    lab.world.gate("inner").set()
    other = await lab.runtime()
    await other.runs.start()
    assert (await other.runs.wait(run.key))["output"] == "c"
    assert len((await other.store.resources.list("mastra.ai", "Run")).items) == 2


async def test_a_parent_of_a_suspended_child_is_suspended_too_and_wakes_with_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "child":
            return await ctx.wait_signal("go")
        return await ctx.call(Reference(kind="Job", namespace="default", name="job"), "child")

    runtime, run = await started(lab, program)
    await runtime.runs.drain()
    assert (await stored(runtime, run)).status["phase"] == "Suspended"
    runs = (await runtime.store.resources.list("mastra.ai", "Run")).items
    child = next(r for r in runs if "parent" in r.spec)
    await runtime.runs.signal(child.key, "go", "went")
    assert await run.result() == "went"


async def test_a_run_ends_on_what_it_was_started_with(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})
        part = ctx.pinned(Reference(kind="Part", namespace="default", name="p"))
        assert part is not None
        return [target.spec["v"], part.spec["v"]]

    lab.world.program = program
    runtime = await lab.runtime()
    part = {"apiVersion": "mastra.ai/v1", "kind": "Part", "metadata": {"name": "p"}, "spec": {"v": 1}}
    job = {**JOB, "spec": {"v": 1, "parts": ["p"]}}
    await runtime.apply([job, part], wait=False)
    run = await runtime.start_run("jobs/job")
    await lab.world.entry("x").wait()
    await runtime.apply([{**job, "spec": {"v": 2, "parts": ["p"]}}, {**part, "spec": {"v": 2}}], wait=False)
    await lab.crash(runtime)
    lab.world.gate("x").set()
    other = await lab.runtime()
    await other.runs.start()
    assert (await other.runs.wait(run.key))["output"] == [1, 1]
    again = await other.start_run("jobs/job")
    assert await again.result() == [2, 2]


async def test_two_processes_never_execute_one_run_at_once(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})
        return "done"

    _, run = await started(lab, program)
    await lab.world.entry("x").wait()
    other = await lab.runtime()
    await other.runs.start()
    assert other.runs.resumed == [], "its worker is alive"
    lab.world.now += 60  # the first process is taken for dead, wrongly
    assert await other.runs.recover() == [run.key]
    lab.world.gate("x").set()
    assert (await other.runs.wait(run.key))["output"] == "done"
    with pytest.raises(RunFailedError, match="another worker"):
        await run.result()
    records = await other.store.journal.records(run.uid)
    assert len(records) == 1, "the worker that lost the run recorded nothing"


async def test_closing_hands_runs_over_at_once(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})
        return "done"

    runtime, run = await started(lab, program)
    await lab.world.entry("x").wait()
    await runtime.runs.aclose()
    lab.world.gate("x").set()
    other = await lab.runtime()
    await other.runs.start()
    assert other.runs.resumed == [run.key]
    assert (await other.runs.wait(run.key))["output"] == "done"


async def test_a_queued_run_waits_for_a_slot_of_its_target(lab: Lab) -> None:
    active: list[int] = []
    peak: list[int] = []

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        active.append(1)
        peak.append(len(active))
        await ctx.perform("note", {"name": f"n{input}", "gate": input < 2})
        active.pop()

    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([{**JOB, "spec": {"scaling": {"minReplicas": 1, "maxReplicas": 2}}}], wait=False)
    runs = [await runtime.start_run("jobs/job", i) for i in range(8)]
    key = ResourceKey("mastra.ai", "Job", "default", "job")
    assert runtime.runs.scheduler.slots(key).queued == 6
    await lab.world.entry("n1").wait()
    phases = [(await stored(runtime, run)).status["phase"] for run in runs]
    assert phases == ["Running"] * 2 + ["Pending"] * 6
    for name in ("n0", "n1"):
        lab.world.gate(name).set()
    for run in runs:
        await run.result()
    assert max(peak) == 2
    assert {(await stored(runtime, run)).status["phase"] for run in runs} == {"Succeeded"}


async def test_a_queued_run_is_cancelled(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "x", "gate": True})

    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([{**JOB, "spec": {"scaling": {"maxReplicas": 1}}}], wait=False)
    first = await runtime.start_run("jobs/job")
    second = await runtime.start_run("jobs/job")
    await second.cancel()
    assert (await second.status())["phase"] == "Cancelled"
    lab.world.gate("x").set()
    await first.result()


async def test_events_reach_a_listener_and_end_with_the_run(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        assert ctx.streaming
        await ctx.emit({"type": "text", "text": "a"})
        await ctx.emit({"type": "text", "text": "b"})

    seen: list[Any] = []
    _, run = await started(lab, program, listener=seen.append)
    await run.result()
    assert [event["type"] for event in seen] == ["text", "text", "finished"]


async def test_remembered_messages_are_stored_with_the_end_of_the_run_only(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        before = len(await ctx.history())
        await ctx.remember([{"role": "user", "parts": []}])
        if input == "fail":
            raise RunFailedError("no", reason="No")
        return before

    runtime, run = await started(lab, program, thread="t")
    assert await run.result() == 0
    failed = await runtime.start_run("jobs/job", "fail", thread="t")
    with pytest.raises(RunFailedError):
        await failed.result()
    assert await (await runtime.start_run("jobs/job", thread="t")).result() == 1


async def test_what_is_not_ready_is_not_run(lab: Lab) -> None:
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    job = await runtime.client.require(ResourceKey("mastra.ai", "Job", "default", "job"))
    condition = {"type": "Ready", "status": "False", "reason": "Broken", "message": "mend it"}
    await runtime.client.update_status(job, {"conditions": [condition]})
    with pytest.raises(NotReadyError, match="Broken"):
        await runtime.start_run("jobs/job")


async def test_what_cannot_be_run_says_what_can(lab: Lab) -> None:
    runtime = await lab.runtime()
    with pytest.raises(UserError, match="kinds that can: jobs"):
        await runtime.start_run("parts/p")
    with pytest.raises(NotFoundError):
        await runtime.start_run("jobs/nothing")


async def test_deleting_a_run_removes_its_journal_and_stops_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        await ctx.perform("note", {"name": "one"})
        await ctx.perform("note", {"name": "two", "gate": True})

    runtime, run = await started(lab, program)
    await lab.world.entry("two").wait()
    await runtime.client.delete(run.key)
    lab.world.gate("two").set()
    with pytest.raises(RunFailedError):
        await run.result()
    assert list(await runtime.store.journal.records(run.uid)) == []
    assert list(await runtime.store.journal.claims()) == []


async def test_a_process_that_runs_nothing_deletes_a_run_with_all_that_it_has(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return (await ctx.perform("note", {"name": "one"}))["did"]

    runtime, run = await started(lab, program)
    await run.result()
    digest = (await stored(runtime, run)).spec["pinned"]
    assert list(await lab.store.journal.records(run.uid))
    other = await lab.runtime()
    await other.client.delete(run.key)
    assert list(await lab.store.journal.records(run.uid)) == []
    assert not await lab.store.blobs.has(digest)


async def test_what_a_run_pins_stays_as_long_as_a_run_needs_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        return target.metadata.name

    runtime, first = await started(lab, program)
    await first.result()
    second = await runtime.start_run("jobs/job")
    await second.result()
    digest = (await stored(runtime, first)).spec["pinned"]
    assert (await stored(runtime, second)).spec["pinned"] == digest
    await runtime.client.delete(first.key)
    assert await lab.store.blobs.has(digest)
    await runtime.client.delete(second.key)
    assert not await lab.store.blobs.has(digest)
    # This runtime saw it kept, and it is gone: the next run brings it again.
    third = await runtime.start_run("jobs/job")
    assert await third.result() == "job"
    assert await lab.store.blobs.has(digest)


async def test_now_and_uuid_are_the_same_after_a_crash(lab: Lab) -> None:
    seen: list[Any] = []

    async def program(ctx: RunContext, target: Resource, input: Any) -> Any:
        seen.append((await ctx.now(), await ctx.uuid(), await ctx.uuid()))
        await ctx.perform("note", {"name": "x", "gate": True})

    runtime, run = await started(lab, program)
    await lab.world.entry("x").wait()
    await lab.crash(runtime)
    lab.world.gate("x").set()
    other = await lab.runtime()
    await other.runs.start()
    await other.runs.wait(run.key)
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[0][2]
