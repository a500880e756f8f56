"""Limits hold for a run and all that it calls, to the unit, however much of it goes on at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import Resource
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError, RunFailedError
from kastra_core.execution.handle import RunOptions
from kastra_core.execution.replay import replay
from kastra_core.execution.state import RunState
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.runner import Outcome, RunContext, SharedState
from kastra_core.protocols.store import AppendMessages, SetState
from run_lab import JOB, Lab, started

SELF = Reference(kind="Job", namespace="default", name="job")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    yield made
    await made.aclose()


async def runs_of(lab: Lab) -> list[Resource]:
    return list((await lab.store.resources.list("mastra.ai", "Run")).items)


def thoughts(lab: Lab) -> int:
    return sum(name == "think" for name, _ in lab.world.calls)


async def swarm(ctx: RunContext, target: Any, input: Any) -> Any:
    """Ten children at once; each thinks for ever, and takes whatever failure it meets as an answer."""
    if input == "child":
        while True:
            ctx.step()
            await ctx.perform("think", {"name": "think", "usage": {"inputTokens": 10, "cost": 0.5}})
            await ctx.perform("use", {"name": "use"})

    def branch(inner: RunContext) -> Any:
        return inner.call(SELF, "child")

    while True:
        await ctx.gather({f"{at}": branch for at in range(10)})


@pytest.mark.parametrize(
    ("limits", "name", "most"),
    [
        ({"maxModelCalls": 25}, "think", 25),
        ({"maxToolCalls": 25}, "use", 25),
        ({"maxSteps": 25}, "think", 25),
        # A call that is under way may still take tokens and money, so calls at once may each go over by one.
        ({"maxTokens": 255}, "think", 26 + 10),
        ({"maxCost": 12.6}, "think", 26 + 10),
    ],
)
async def test_children_at_once_share_the_limit_of_their_caller(
    lab: Lab, limits: dict[str, Any], name: str, most: int
) -> None:
    _, run = await started(lab, swarm, limits=limits)
    status = await asyncio.wait_for(run.status(), 20)
    assert (status["phase"], status["reason"]) == ("Failed", "LimitExceeded"), status
    assert sum(called == name for called, _ in lab.world.calls) <= most
    if name == "think" and len(limits) == 1 and most == 25:
        assert thoughts(lab) == 25
    assert f"the limit {next(iter(limits))}=" in status["message"]


async def test_what_a_limit_ended_is_counted_in_the_usage_of_the_caller(lab: Lab) -> None:
    _, run = await started(lab, swarm, limits={"maxModelCalls": 25})
    status = await run.status()
    assert status["usage"]["modelCalls"] == 25
    assert status["usage"]["inputTokens"] == 250


async def test_a_grandchild_counts_in_every_run_above(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        depth = input or 0
        if depth < 3:
            return await ctx.call(SELF, depth + 1)
        while True:
            await ctx.perform("think", {"name": "think"})

    _, run = await started(lab, program, limits={"maxModelCalls": 4})
    status = await run.status()
    assert (status["reason"], thoughts(lab)) == ("LimitExceeded", 4)
    assert status["usage"]["modelCalls"] == 4


async def test_a_limit_of_a_child_is_no_end_of_a_caller_that_has_used_up_another_one(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            while True:
                ctx.step()
        try:
            await ctx.call(SELF, "child")
        except OperationError as error:
            return error.reason

    _, run = await started(lab, program, limits={"maxToolCalls": 0})
    assert await run.result() == "LimitExceeded"


async def test_a_default_limit_of_steps_is_that_of_the_run_alone(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        for _ in range(20):
            ctx.step()
        if input != "child":
            await ctx.call(SELF, "child")
            ctx.step()

    _, run = await started(lab, program)
    await run.result()
    status = await run.status()
    assert status["usage"]["steps"] == 41


async def test_a_limit_of_steps_that_somebody_set_is_shared_with_children(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        ctx.step()
        if input != "child":
            await ctx.call(SELF, "child")
            return None
        while True:
            ctx.step()

    runtime, run = await started(lab, program, limits={"maxSteps": 5})
    status = await run.status()
    assert (status["reason"], status["usage"]["steps"]) == ("LimitExceeded", 5)
    trace = await replay(runtime, await runtime.client.require(run.key))
    assert not trace.differs


async def test_what_a_cancelled_child_used_is_recorded_with_what_ended_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            for _ in range(3):
                await ctx.perform("think", {"name": "think", "usage": {"inputTokens": 7}})
            await ctx.perform("note", {"name": "wait", "gate": True})

        async def hurry(inner: RunContext) -> Any:
            await inner.perform("note", {"name": "hurry", "gate": True})
            raise OperationError("enough", reason="Enough")

        if input != "child":
            await ctx.gather({"child": lambda c: c.call(SELF, "child"), "hurry": hurry}, stop_on=lambda _: True)
            if input != "crash":
                return "done"
            await ctx.sleep(3600)
        return None

    runtime, run = await started(lab, program, "crash")
    await lab.world.entry("wait").wait()
    await lab.world.entry("hurry").wait()
    lab.world.gate("hurry").set()
    while (await runtime.client.require(run.key)).status.get("phase") != "Suspended":
        await asyncio.sleep(0.01)
    records = {line.path: line.record for line in await lab.store.journal.records(run.uid)}
    assert records["/all#0"]["u"]["modelCalls"] == 3
    await lab.crash(runtime)
    lab.world.now += 4000
    again = await lab.runtime()
    await again.runs.start()
    await again.runs.drain()
    status = (await again.client.require(run.key)).status
    assert (status["phase"], status["usage"]["modelCalls"], status["usage"]["inputTokens"]) == ("Succeeded", 3, 21)


async def test_limits_hold_when_caller_and_children_are_taken_over(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            for at in range(100):
                await ctx.perform("think", {"name": "think", "gate": at == 3})
        return await ctx.gather({f"{at}": lambda c: c.call(SELF, "child") for at in range(3)})

    runtime, run = await started(lab, program, limits={"maxModelCalls": 20})
    while thoughts(lab) < 12:
        await asyncio.sleep(0.01)
    await lab.crash(runtime)
    lab.world.gate("think").set()
    again = await lab.runtime()
    await again.runs.start()
    await again.runs.drain()
    status = (await again.client.require(run.key)).status
    assert (status["reason"], status["usage"]["modelCalls"]) == ("LimitExceeded", 20)
    # Three were under way when it crashed; they were repeated.
    assert thoughts(lab) == 23


async def test_embeddings_count_tokens_and_no_model_call(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        while True:
            await ctx.perform("embed", {"name": "embed", "usage": {"inputTokens": 40}})

    lab.world.program = program
    _, run = await started(lab, program, limits={"maxModelCalls": 0, "maxTokens": 100})
    status = await run.status()
    assert (status["reason"], status["usage"]["modelCalls"]) == ("LimitExceeded", 0)
    assert status["usage"]["inputTokens"] == 120


_USE = st.fixed_dictionaries(
    {
        "model": st.integers(0, 3),
        "tool": st.integers(0, 3),
        "inputTokens": st.integers(0, 50),
        "steps": st.integers(0, 3),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["use", "leave", "end", "attach"]), _USE), max_size=40))
def test_a_caller_counts_each_thing_once_whatever_comes_and_goes(moves: list[tuple[int, str, dict[str, int]]]) -> None:
    """Children use, leave memory, come back and end in any order: the caller's count is what all used together."""
    children: dict[int, RunState] = {}
    parent, spent = _state("p"), {"model": 0, "tool": 0, "inputTokens": 0, "steps": 0}
    for number, move, use in moves:
        child = children.get(number)
        if child is None:
            child = children[number] = _state(f"c{number}")
            parent.attach(child)
        if move == "use" and child.above is parent:
            for counts_as in ("model", "tool"):
                for at in range(use[counts_as]):
                    child.begin(counts_as)
                    tokens = use["inputTokens"] if counts_as == "model" and at == 0 else 0
                    child.count(counts_as, {"usage": {"inputTokens": tokens}})
                    spent["inputTokens"] += tokens
                spent[counts_as] += use[counts_as]
            for _ in range(use["steps"]):
                child.step()
            spent["steps"] += use["steps"]
        elif move == "leave":
            child.detach()
        elif move == "attach":
            parent.attach(child)
        elif move == "end":
            parent.add_child(child.uid, child.usage.to_json())
            child.above = None
            del children[number]
    assert (parent.started["model"], parent.started["tool"]) == (spent["model"], spent["tool"])
    usage = parent.usage
    assert (usage.model_calls, usage.tool_calls) == (spent["model"], spent["tool"])
    assert (usage.input_tokens, usage.steps) == (spent["inputTokens"], spent["steps"])


async def test_a_cancelled_child_that_wakes_once_more_is_not_counted_twice() -> None:
    async def commit(operations: Any) -> None: ...

    def used() -> RunState:
        child = _state("c")
        child.begin("tool")
        child.count("tool", None)
        return child

    parent, path = _state("p"), "/all#0[a]/job:job#0"
    parent.manager = SimpleNamespace(cancelling=lambda uid: uid, commit=commit)  # type: ignore[assignment]
    parent.calls[path] = "c"
    child = used()
    parent.attach(child)
    child.detach()
    parent.end_branches("/all#0", {}, below=lambda place: place == path)
    parent.attach(used())
    assert (parent.usage.tool_calls, parent.started["tool"]) == (1, 1)
    assert parent.records["/all#0"]["u"]["toolCalls"] == 1
    await parent.durable()


def _state(name: str) -> RunState:
    from kastra_core.api.meta import ObjectMeta, Resource

    run = Resource(api_version="mastra.ai/v1", kind="Run", metadata=ObjectMeta(name=name, namespace="n", uid=name))
    return RunState(None, run, 1, {}, {})  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- ends and effects


async def test_a_runner_says_why_it_ended(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "fail":
            raise RunFailedError("no more", reason="TooMany", output={"part": 1})
        return Outcome(output="yes", reason="Completed", message="all is said")

    runtime, run = await started(lab, program)
    status = await run.status()
    assert (status["phase"], status["reason"], status["message"], status["output"]) == (
        "Succeeded",
        "Completed",
        "all is said",
        "yes",
    )
    trace = await replay(runtime, await runtime.client.require(run.key))
    assert (trace.output, trace.differs) == ("yes", False)
    failed = await runtime.start_run("jobs/job", "fail")
    with pytest.raises(RunFailedError, match="no more") as raised:
        await failed.result()
    assert raised.value.output == {"part": 1}


async def test_effects_are_stored_with_the_record_and_once(lab: Lab) -> None:
    scope = SharedState(scope="network/default/x", ttl_s=100.0)

    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        assert ctx.shared is not None
        if input == "child":
            await ctx.perform("state.update", {"values": {"b": 2}, "ttlS": 5})
            return await ctx.perform("state.get", {})
        await ctx.perform("state.update", {"values": {"a": 1, "c": None}})
        got = await ctx.call(SELF, "child")
        ctx.at_end(SetState("done", {"at": "end"}))
        await ctx.perform("note", {"name": "last", "gate": True})
        return got

    runtime, run = await started(lab, program, shared=scope)
    await lab.world.entry("last").wait()
    state = lab.store.state
    assert await state.get_state("network/default/x") == {"a": 1, "b": 2}
    assert await state.get_state("done") == {}
    await state.set_value("network/default/x", "a", "changed by another")
    await lab.crash(runtime)
    lab.world.gate("last").set()
    again = await lab.runtime()
    await again.runs.start()
    await again.runs.drain()
    status = (await again.client.require(run.key)).status
    assert status["output"] == {"a": 1, "b": 2}
    assert await state.get_state("network/default/x") == {"a": "changed by another"}, "b lived for 5 s"
    assert await state.get_state("done") == {"at": "end"}


@pytest.mark.parametrize(
    ("operation", "arguments", "reason"),
    [
        ("state.get", {}, "NoSharedState"),
        ("state.update", {"values": {"a": 1}}, "NoSharedState"),
        ("state.get", {"scope": "s", "keys": "a"}, "InvalidArguments"),
        ("state.get", {"scope": 3}, "InvalidArguments"),
        ("state.update", {"scope": "s"}, "InvalidArguments"),
        ("state.update", {"scope": "s", "values": [1]}, "InvalidArguments"),
    ],
)
async def test_wrong_use_of_the_state_is_told(lab: Lab, operation: str, arguments: dict[str, Any], reason: str) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        await ctx.perform(operation, arguments)

    _, run = await started(lab, program)
    assert (await run.status())["reason"] == reason


async def test_a_failed_run_leaves_nothing_of_its_end(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        ctx.at_end(AppendMessages("default", "t", [{"role": "user", "parts": []}]))
        raise RunFailedError("no")

    _, run = await started(lab, program)
    await run.status()
    assert await lab.store.threads.last_seq("default", "t") == 0


async def test_a_cancelled_commit_does_not_write_twice(lab: Lab) -> None:
    class Slow(MemoryStore):
        reached = asyncio.Event()
        go_on = asyncio.Event()

        async def commit(self, operations: Any) -> Any:
            done = await super().commit(operations)
            if any(getattr(op, "writes", ()) for op in operations) and not self.reached.is_set():
                self.reached.set()
                await self.go_on.wait()
            return done

    store = lab.store = Slow(clock=lambda: lab.world.now)

    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        async def write(inner: RunContext) -> Any:
            await inner.perform("say", {"name": "say"})
            await inner.perform("note", {"name": "after"})

        async def hurry(inner: RunContext) -> Any:
            await store.reached.wait()
            raise OperationError("enough", reason="Enough")

        await ctx.gather({"write": write, "hurry": hurry}, stop_on=lambda _: True)
        store.go_on.set()
        return "over"

    _, run = await started(lab, program)
    assert await asyncio.wait_for(run.result(), 10) == "over"
    assert await store.threads.last_seq("default", "said") == 1


async def test_state_of_a_run_goes_with_it(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        await ctx.perform("state.update", {"scope": f"run/{ctx.run_id}", "values": {"a": 1}})

    runtime, run = await started(lab, program)
    await run.result()
    assert await lab.store.state.get_state(f"run/{run.uid}") == {"a": 1}
    await runtime.client.delete(run.key)
    assert await lab.store.state.get_state(f"run/{run.uid}") == {}


async def test_options_say_what_a_run_shares(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        return None if ctx.shared is None else [ctx.shared.scope, ctx.shared.ttl_s, ctx.shared.tools]

    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    options = RunOptions(shared=SharedState(scope="s", tools=False))
    run = await runtime.runs.start_run(SELF, None, options)
    assert await run.result() == ["s", None, False]
    assert await (await runtime.runs.start_run(SELF, None)).result() is None


# ---------------------------------------------------------------------------------------------- listening


async def test_who_listens_to_a_run_and_its_child_still_hears_them_after_they_waited(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            await ctx.wait_signal("go")
            await ctx.emit({"type": "text", "text": "child"})
            return None
        await ctx.call(SELF, "child")
        await ctx.emit({"type": "text", "text": "parent"})
        return "done"

    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    heard: list[str] = []
    async for event in runtime.stream_run("jobs/job"):
        while event["type"] == "child":
            event = event["event"]
        heard.append(event.get("text") or event["type"])
        if event["type"] == "suspended":
            [child] = [run for run in await runs_of(lab) if run.spec.get("parent")]
            await runtime.runs.drain()
            await runtime.runs.signal(child.key, "go")
        if event["type"] == "ended":
            assert event["status"]["output"] == "done"
    texts = [text for text in heard if text in ("child", "parent")]
    assert texts == ["child", "parent"]
    assert heard[-1] == "ended"
    assert not runtime.runs._listening


async def test_leaving_a_stream_cancels_the_run(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        await ctx.emit({"type": "text", "text": "one"})
        await ctx.perform("note", {"name": "wait", "gate": True})

    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    events = runtime.stream_run("jobs/job")
    async for _ in events:
        break
    await events.aclose()
    await runtime.runs.drain()
    [run] = await runs_of(lab)
    assert run.status["phase"] == "Cancelled"
