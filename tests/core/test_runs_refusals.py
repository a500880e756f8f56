"""What a store refuses for good fails the run with a reason; what it cannot take now is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import ObjectMeta, Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.errors import OperationError, RunFailedError, StoreUnavailableError
from kastra_core.execution import recovery, runs
from kastra_core.execution.replay import replay
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    CreateResource,
    DeleteResource,
    HoldBlob,
    Operation,
    ReleaseRun,
    SendSignal,
    SetState,
    UpdateResource,
    UpsertVectors,
)
from run_lab import JOB, Lab, started

SELF = Reference(kind="Job", namespace="default", name="job")
TAKEN = Resource(
    api_version="mastra.ai/v1", kind="Part", metadata=ObjectMeta(name="taken", namespace="default", uid="1"), spec={}
)
MISSING = ResourceKey("mastra.ai", "Part", "default", "missing")
HOSTILE: dict[str, tuple[Operation, str]] = {
    "a vector of another length": (UpsertVectors("c", [("x", [1.0, 2.0], {})]), "VectorLength"),
    "a thread that went on": (AppendMessages("default", "t", [{"role": "user"}], expected_seq=7), "Conflict"),
    "a name that is taken": (CreateResource(TAKEN), "AlreadyExists"),
    "a version that is old": (UpdateResource(TAKEN, "0"), "Conflict"),
    "a resource that is gone": (DeleteResource(MISSING), "NotFound"),
    "a blob that is gone": (HoldBlob("nothing", "me"), "NotFound"),
    "no JSON": (SetState("s", {"a": object()}), "RunnerBug"),
}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    await made.store.commit([UpsertVectors("c", [("w", [1.0, 2.0, 3.0], {})]), CreateResource(TAKEN)])
    yield made
    await made.aclose()


def writing(lab: Lab, hostile: Operation) -> None:
    """Let the operation ``use`` write something good and something that the store refuses."""

    async def use(ctx: OperationContext, arguments: Any) -> Any:
        lab.world.calls.append(("use", None))
        ctx.write(SetState("s", {"good": 1}), hostile)
        return "did"

    lab.world.note = use  # type: ignore[method-assign]


async def ended(lab: Lab, program: Any, reason: str, input: Any = None) -> tuple[Any, dict[str, Any]]:
    """The run and its records; it failed for the reason, at once, and wrote nothing of what it was to write."""
    runtime, run = await started(lab, program, input)
    with pytest.raises(RunFailedError, match=r"refused|JSON"):
        await asyncio.wait_for(run.result(), 10)
    stored = await runtime.client.require(run.key)
    assert (stored.status["phase"], stored.status["reason"]) == ("Failed", reason), stored.status
    assert await lab.store.state.get_state("s") == {}
    assert await lab.store.journal.claims() == []
    trace = await replay(runtime, stored)
    assert not trace.differs
    assert (trace.end, (trace.error or {})["reason"]) == ("failed", reason)
    return stored, {line.path: line.record for line in await lab.store.journal.records(run.uid)}


@pytest.mark.parametrize(("hostile", "reason"), list(HOSTILE.values()), ids=list(HOSTILE))
async def test_an_end_with_which_the_store_refuses_something_is_a_failure(
    lab: Lab, hostile: Operation, reason: str
) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        await ctx.perform("note", {"name": "note"})
        ctx.at_end(SetState("s", {"good": 1}), hostile)
        return "done"

    _, records = await ended(lab, program, reason)
    assert records["/note#0"]["r"]["did"] == "note"
    assert [name for name, _ in lab.world.calls] == ["note"], "it was not begun again"


@pytest.mark.parametrize(
    ("hostile", "reason", "then"),
    [
        *((*each, "perform") for each in HOSTILE.values()),
        *((*HOSTILE[name], then) for then in ("end", "sleep", "call", "swallow") for name in list(HOSTILE)[:2]),
    ],
)
async def test_a_result_with_which_the_store_refuses_something_fails_the_run(
    lab: Lab, hostile: Operation, reason: str, then: str
) -> None:
    writing(lab, hostile)

    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            return None
        await ctx.now()
        try:
            await ctx.perform("use", {})
            match then:
                case "perform":
                    await ctx.perform("use", {}, name="second")
                case "sleep":
                    await ctx.sleep(3600)
                case "call":
                    await ctx.call(SELF, "child")
                case "swallow":
                    await ctx.gather({"a": lambda c: c.sleep(0.001), "b": lambda c: c.sleep(0.001)})
        except Exception:
            if then != "swallow":
                raise
        return "done"

    _, records = await ended(lab, program, reason)
    assert "/now#0" in records
    assert "/use#0" not in records, "a result is recorded with all that was to be written, or not at all"
    assert len(lab.world.calls) == 1, "it was not begun again"


async def test_the_caller_of_a_run_that_the_store_refused_gets_the_reason(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            ctx.at_end(HOSTILE["a thread that went on"][0])
            return None
        try:
            await ctx.call(SELF, "child")
        except OperationError as error:
            return error.reason

    _, run = await started(lab, program)
    assert await asyncio.wait_for(run.result(), 10) == "Conflict"


async def test_a_failure_keeps_its_reason_when_its_output_cannot_be_kept(lab: Lab) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        raise RunFailedError("no more", reason="TooMany", output={"part": object()})

    _, run = await started(lab, program)
    status = await run.status()
    assert (status["reason"], "output" in status) == ("TooMany", False)
    assert status["message"].startswith("no more; what the runner gave back cannot be kept as JSON")


async def test_an_effect_of_an_end_that_was_reported_as_failed_is_no_refusal(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit was done; what it created is there when it is repeated."""
    monkeypatch.setattr(runs, "_RETRY_S", (0.001,))
    new = Resource(
        api_version="mastra.ai/v1", kind="Part", metadata=ObjectMeta(name="new", namespace="default", uid="2"), spec={}
    )
    real, failures = lab.store.commit, [1]

    async def commit(operations: Sequence[Operation]) -> Any:
        done = await real(operations)
        if failures and any(isinstance(each, CreateResource) and each.resource is new for each in operations):
            failures.pop()
            raise StoreUnavailableError("failed after the write")
        return done

    monkeypatch.setattr(lab.store, "commit", commit)

    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        ctx.at_end(CreateResource(new))
        return "done"

    _, run = await started(lab, program)
    assert await run.result() == "done"


# ---------------------------------------------------------------------------------------------- a child's first commit


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done"])
async def test_a_child_begins_though_its_first_commit_was_reported_as_failed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    monkeypatch.setattr(runs, "_RETRY_S", (0.001, 0.001))
    real, failures, seen = lab.store.commit, [1], []

    async def commit(operations: Sequence[Operation]) -> Any:
        child = any(isinstance(each, CreateResource) and each.resource.spec.get("parent") for each in operations)
        if child:
            seen.append([each.path for each in operations if isinstance(each, AppendRecord)])
            if failures:
                failures.pop()
                if done:
                    await real(operations)
                raise StoreUnavailableError("no")
        return await real(operations)

    monkeypatch.setattr(lab.store, "commit", commit)

    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            return "of the child"
        await ctx.now()
        await ctx.perform("note", {"name": "note"})
        return await ctx.call(SELF, "child")

    runtime, run = await started(lab, program)
    while (await runtime.client.require(run.key)).status["phase"] not in ("Succeeded", "Failed"):
        await asyncio.sleep(0.005)
        await runtime.runs.recover()  # as the house-keeping does
    assert (await runtime.client.require(run.key)).status["output"] == "of the child"
    assert seen == [["/note#0"]] * 2, "the caller's records went with it"
    assert [name for name, _ in lab.world.calls] == ["note"]


async def test_branches_that_begin_children_at_once_do_not_wait_for_each_other(lab: Lab) -> None:
    """Their commits are under way together, so that a store can join them."""
    real, under_way, most = lab.store.commit, [0], [0]

    async def commit(operations: Sequence[Operation]) -> Any:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        await asyncio.sleep(0.001)
        under_way[0] -= 1
        return await real(operations)

    lab.store.commit = commit  # type: ignore[method-assign]

    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            return 1
        await ctx.now()

        async def branch(inner: RunContext) -> Any:
            await inner.now()
            return await inner.call(SELF, "child")

        return len(await ctx.gather({f"{at}": branch for at in range(40)}))

    _, run = await started(lab, program)
    assert await run.result() == 40
    assert most[0] >= 39, "the first took along what all had recorded, the others began at once"


# ---------------------------------------------------------------------------------------------- wake-ups


async def _waits(ctx: RunContext, target: Any, input: Any) -> Any:
    return await ctx.wait_signal("go")


async def test_a_signal_is_not_forgotten_when_the_run_cannot_be_taken_for_a_while(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, run = await started(lab, _waits)
    await runtime.runs.drain()
    real, refusals = lab.store.commit, [0]

    async def commit(operations: Sequence[Operation]) -> Any:
        if any(isinstance(operation, ClaimRun) for operation in operations):
            refusals[0] += 1
            raise StoreUnavailableError("no")
        return await real(operations)

    monkeypatch.setattr(lab.store, "commit", commit)
    await runtime.runs.signal(run.key, "go", "went")
    while not refusals[0]:
        await asyncio.sleep(0.001)
    assert await runtime.runs.recovery.recover() == []
    assert refusals[0] == 2
    monkeypatch.undo()
    assert await runtime.runs.recovery.recover() == [run.key]
    assert (await runtime.runs.wait(run.key))["output"] == "went"


async def test_a_signal_is_not_forgotten_when_a_suspension_was_reported_as_failed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_RETRY_S", ())
    monkeypatch.setattr(recovery, "_AGAIN_S", 0.0)
    real = lab.store.commit

    async def commit(operations: Sequence[Operation]) -> Any:
        release = next((each for each in operations if isinstance(each, ReleaseRun) and not each.finished), None)
        if release is None:
            return await real(operations)
        monkeypatch.setattr(lab.store, "commit", real)
        await real([SendSignal(release.run, "go", "went")])
        await asyncio.sleep(0.01)  # it is heard while the run is still here
        await real(operations)
        raise StoreUnavailableError("done all the same")

    monkeypatch.setattr(lab.store, "commit", commit)
    runtime, run = await started(lab, _waits)
    with pytest.raises(RunFailedError, match="the run is not over"):
        await run.result()
    assert await runtime.runs.recovery.recover() == [run.key]
    assert (await runtime.runs.wait(run.key))["output"] == "went"


# ---------------------------------------------------------------------------------------------- what children used


async def test_what_a_suspended_child_has_used_counts_after_its_caller_was_away(lab: Lab) -> None:
    """Nothing is left of the limit for the second child, although the call of the first one is not over."""

    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "asks":
            for _ in range(3):
                await ctx.perform("think", {"name": "think"})
            return await ctx.wait_signal("answer")
        if input == "thinks":
            while True:
                await ctx.perform("think", {"name": "again"})

        async def second(inner: RunContext) -> Any:
            await inner.wait_signal("go")
            return await inner.call(SELF, "thinks")

        return await ctx.gather({"first": lambda c: c.call(SELF, "asks"), "second": second})

    runtime, run = await started(lab, program, limits={"maxModelCalls": 5})
    while (await runtime.client.require(run.key)).status["phase"] != "Suspended":
        await asyncio.sleep(0.005)
    await lab.crash(runtime)
    again = await lab.runtime()
    await again.runs.start()
    await again.runs.signal(run.key, "go")
    status = await asyncio.wait_for(again.runs.wait(run.key), 10)
    assert (status["reason"], status["usage"]["modelCalls"]) == ("LimitExceeded", 5)
    assert [name for name, _ in lab.world.calls] == ["think"] * 3 + ["again"] * 2


async def test_what_a_child_used_is_counted_though_its_branch_was_ended_before_it_came_to_the_call_again(
    lab: Lab,
) -> None:
    async def program(ctx: RunContext, target: Any, input: Any) -> Any:
        if input == "child":
            await ctx.perform("think", {"name": "think"})
            return await ctx.wait_signal("never")

        async def body(inner: RunContext) -> Any:
            return await inner.call(SELF, "child")

        try:
            await ctx.within(100, body)
        except OperationError as error:
            await ctx.sleep(3600)
            return error.reason

    runtime, run = await started(lab, program)
    while (await runtime.client.require(run.key)).status["phase"] != "Suspended":
        await asyncio.sleep(0.005)
    await lab.crash(runtime)
    lab.world.now += 200
    runtime = await lab.runtime()
    await runtime.runs.start()
    while "/within#0" not in {line.path for line in await lab.store.journal.records(run.uid)}:
        await asyncio.sleep(0.005)
    lab.world.now += 4000
    runtime.runs.look_again()
    status = await asyncio.wait_for(runtime.runs.wait(run.key), 10)
    assert (status["output"], status["usage"]["modelCalls"]) == ("Timeout", 1)


def test_the_job_is_what_the_reference_says() -> None:
    assert JOB["metadata"] == {"name": SELF.name}
