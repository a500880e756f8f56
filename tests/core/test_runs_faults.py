"""Durable runs when something goes wrong: stores that fail, handlers and runners that misbehave, races of signals."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.api.references import Reference
from kastra_core.config import Config
from kastra_core.errors import (
    OperationError,
    RunCancelledError,
    RunFailedError,
    StoreUnavailableError,
    UserError,
)
from kastra_core.execution import recovery, runs
from kastra_core.execution.children import MAX_DEPTH
from kastra_core.execution.runs import RunHandle
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.protocols.store import AppendRecord, ClaimRun, CreateResource, Operation, ReleaseRun
from kastra_core.registrations import OperationRegistration
from kastra_core.runtime import registry_of

Program = Callable[[RunContext, Any], Awaitable[Any]]
Body = Callable[[OperationContext, Any], Awaitable[Any]]

JOB = {"apiVersion": "mastra.ai/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {}}
SELF = Reference(kind="Job", namespace="default", name="job")


class FaultyStore(MemoryStore):
    """``fault(operations)`` may raise before a commit is done."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.fault: Callable[[Sequence[Operation]], None] = lambda _: None
        self.commits = 0

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        self.fault(operations)
        self.commits += 1
        return await super().commit(operations)


class Lab:
    """Runtimes that come and go on one store; operations and programs are plain functions of the test."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.now = 1_000_000.0
        self.store = FaultyStore(lambda: self.now)
        self.done: list[str] = []
        self.bodies: dict[str, Body] = {}
        self.program: Program = self._nothing
        self.runtimes: list[RuntimeManager] = []

    async def _nothing(self, ctx: RunContext, input: Any) -> Any:
        return input

    async def operate(self, ctx: OperationContext, arguments: dict[str, Any]) -> Any:
        name = arguments["name"]
        self.done.append(name)
        body = self.bodies.get(name)
        return await body(ctx, arguments) if body is not None else {"did": name, "usage": arguments.get("usage", {})}

    def _plugin(self) -> types.ModuleType:
        lab, module = self, types.ModuleType("faults_plugin")

        class Runner:
            async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
                return await lab.program(ctx, input)

        def references(resource: Resource) -> list[Reference]:
            return [SELF] if resource.spec.get("recursive") else []

        @hookimpl
        def kastra_resource_kinds() -> list[ResourceKind]:
            return [ResourceKind(kind="Job", plural="jobs", runner=Runner, references=references)]

        @hookimpl
        def kastra_operations() -> list[OperationRegistration]:
            return [
                OperationRegistration(name="do", handler=self.operate),
                OperationRegistration(name="think", handler=self.operate, counts_as="model"),
            ]

        module.kastra_resource_kinds = kastra_resource_kinds  # type: ignore[attr-defined]
        module.kastra_operations = kastra_operations  # type: ignore[attr-defined]
        return module

    async def runtime(self, *, kinds: bool = True) -> RuntimeManager:
        extra = [("faults", self._plugin())] if kinds else []
        plugins = PluginManager(discover=False, extra=extra)
        config = Config.load(self.project, env={})
        runtime = RuntimeManager(
            store=self.store, config=config, plugins=plugins, registry=registry_of(plugins), clock=lambda: self.now
        )
        self.runtimes.append(runtime)
        return runtime

    async def start(
        self, program: Program, input: Any = None, *, spec: dict[str, Any] | None = None, **options: Any
    ) -> tuple[RuntimeManager, RunHandle]:
        self.program = program
        runtime = await self.runtime()
        await runtime.apply([{**JOB, "spec": spec or {}}], wait=False)
        return runtime, await runtime.start_run("jobs/job", input, **options)

    async def crash(self, runtime: RuntimeManager) -> None:
        """End a runtime as a killed process would: nothing more is written, its lease is not given back."""
        manager = runtime.runs
        manager.closing = True
        tasks = [*manager.recovery.tasks, *(a.task for a in manager._active.values() if a.task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for active in manager._active.values():
            active.finished.cancel()
        manager._active.clear()
        manager.worker.registered = False
        self.now += 60

    async def next(self) -> RuntimeManager:
        """A process that takes over what is left."""
        runtime = await self.runtime()
        await runtime.runs.start()
        return runtime

    async def all(self) -> list[Resource]:
        return list((await self.store.resources.list("mastra.ai", "Run")).items)

    async def phases(self) -> list[str]:
        return sorted(str(run.status.get("phase")) for run in await self.all())

    async def status(self, run: RunHandle) -> dict[str, Any]:
        found = await self.store.resources.get(run.key)
        assert found is not None
        return found.status

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(5):
            while not await condition():
                await asyncio.sleep(0)

    async def aclose(self) -> None:
        self.store.fault = lambda _: None
        for runtime in self.runtimes:
            with contextlib.suppress(Exception):
                await runtime.runs.aclose()
        await self.store.aclose()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    yield made
    await made.aclose()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_RETRY_S", (0.0, 0.0))
    monkeypatch.setattr(recovery, "_AGAIN_S", 0.0)


def failing(times: int, what: type[Any] = AppendRecord) -> Callable[[Sequence[Operation]], None]:
    """A fault of the store: so many commits with such an operation fail."""
    left = [times]

    def fault(operations: Sequence[Operation]) -> None:
        if left[0] > 0 and any(isinstance(operation, what) for operation in operations):
            left[0] -= 1
            raise StoreUnavailableError("the disk is full")

    return fault


# ---------------------------------------------------------------------------------------------- handlers and runners


async def test_a_result_that_is_no_json_fails_its_operation_and_is_recorded(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        try:
            await ctx.perform("do", {"name": "odd"})
        except OperationError as error:
            return error.reason

    async def odd(ctx: OperationContext, arguments: Any) -> Any:
        return object()

    lab.bodies["odd"] = odd
    _, run = await lab.start(program)
    assert await run.result() == "OperationBug"
    assert "not JSON serializable" in str(await lab.store.journal.records(run.uid))


async def test_an_output_that_is_no_json_fails_the_run(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.remember([{"role": "user", "parts": []}])
        return {"x": object()}

    _, run = await lab.start(program, thread="t")
    with pytest.raises(RunFailedError, match="cannot be kept as JSON"):
        await run.result()
    assert (await lab.status(run))["reason"] == "RunnerBug"
    assert await lab.store.threads.last_seq("default", "t") == 0
    assert await lab.store.journal.claims() == []


async def test_details_of_an_error_that_are_no_json_are_left_out(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.perform("do", {"name": "bad"})

    async def bad(ctx: OperationContext, arguments: Any) -> Any:
        raise OperationError("no \ud800", reason="Bad", details={"x": object()})

    lab.bodies["bad"] = bad
    _, run = await lab.start(program)
    with pytest.raises(RunFailedError):
        await run.result()
    [record] = await lab.store.journal.records(run.uid)
    assert record.record["e"] == {"reason": "Bad", "message": "no \\ud800"}
    assert await lab.phases() == ["Failed"]


async def test_what_a_runner_does_to_a_result_does_not_reach_the_journal(lab: Lab) -> None:
    seen = []

    async def program(ctx: RunContext, input: Any) -> Any:
        got = await ctx.perform("do", {"name": "list"})
        seen.append((type(got["items"]), list(got["items"])))
        got["items"].append("mine")
        await ctx.perform("do", {"name": "gate"})

    async def items(ctx: OperationContext, arguments: Any) -> Any:
        return {"items": (1, 2)}

    async def gate(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.Event().wait()

    lab.bodies.update(list=items, gate=gate)
    runtime, _ = await lab.start(program)
    await lab.until(_did(lab, "gate"))
    await lab.crash(runtime)
    await lab.next()
    await lab.until(_did(lab, "gate", 2))
    assert seen == [(list, [1, 2]), (list, [1, 2])], "and it looks the same when it is replayed"


async def test_a_timeout_error_of_the_runner_itself_fails_the_run(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        raise TimeoutError("mine")

    for limits in ({}, {"timeoutS": 60}):
        _, run = await lab.start(program, limits=limits)
        with pytest.raises(RunFailedError, match="TimeoutError: mine"):
            await run.result()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3)])
async def test_an_operation_that_lets_such_an_error_escape_has_failed(lab: Lab, error: BaseException) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        found = await ctx.gather({str(i): lambda c: c.perform("do", {"name": "odd"}) for i in range(input)})
        return [getattr(value, "reason", None) for value in found.values()]

    async def odd(ctx: OperationContext, arguments: Any) -> Any:
        raise error

    lab.bodies["odd"] = odd
    for branches in (1, 2):
        _, run = await lab.start(program, branches)
        assert await run.result() == ["OperationBug"] * branches


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3)])
async def test_a_runner_that_lets_such_an_error_escape_has_failed(lab: Lab, error: BaseException) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        raise error

    _, run = await lab.start(program)
    with pytest.raises(RunFailedError):
        await run.result()
    assert (await lab.status(run))["reason"] == "RunnerBug"


async def test_the_failure_of_a_nested_run_is_recorded(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        with contextlib.suppress(OperationError):
            await ctx.perform("do", {"name": "nested"})
        await ctx.perform("do", {"name": "gate"})

    async def nested(ctx: OperationContext, arguments: Any) -> Any:
        raise RunFailedError("inner", reason="Inner")

    async def gate(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.Event().wait()

    lab.bodies.update(nested=nested, gate=gate)
    runtime, _ = await lab.start(program)
    await lab.until(_did(lab, "gate"))
    await lab.crash(runtime)
    await lab.next()
    await lab.until(_did(lab, "gate", 2))
    assert lab.done.count("nested") == 1


async def test_a_listener_that_raises_hurts_nobody(lab: Lab) -> None:
    seen: list[str] = []

    def bad(event: Any) -> None:
        seen.append(event["type"])
        raise ValueError("listener")

    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.emit({"type": "text"})
        await ctx.emit({"type": "text"})
        return 1

    _, run = await lab.start(program, listener=bad)
    assert await run.result() == 1
    assert seen == ["text"]


async def test_events_of_a_run_that_is_over_end_at_once(lab: Lab) -> None:
    _, run = await lab.start(lab._nothing, 1)
    await run.result()
    assert [event async for event in run.events()] == []


async def test_no_branches_give_no_results(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        return await ctx.gather({})

    _, run = await lab.start(program)
    assert await run.result() == {}


async def test_an_operation_that_swallows_its_cancellation_is_the_last_one(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.perform("do", {"name": "deaf"})
        await ctx.perform("do", {"name": "next"})

    async def deaf(ctx: OperationContext, arguments: Any) -> Any:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    lab.bodies["deaf"] = deaf
    _, run = await lab.start(program)
    await lab.until(_did(lab, "deaf"))
    await run.cancel()
    with pytest.raises(RunCancelledError):
        await run.result()
    assert lab.done == ["deaf"]


async def test_cancelling_twice_leaves_no_branch_behind(lab: Lab) -> None:
    ended = []

    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.gather({str(i): lambda c: c.perform("do", {"name": "slow"}) for i in range(3)})

    async def slow(ctx: OperationContext, arguments: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append(1)

    lab.bodies["slow"] = slow
    runtime, run = await lab.start(program, limits={"timeoutS": 600})
    await lab.until(_did(lab, "slow", 3))
    task = runtime.runs._active[run.uid].task
    assert task is not None
    runtime.runs.cancel_local(run.uid)
    await asyncio.sleep(0)
    task.cancel()
    assert (await run.status())["phase"] == "Cancelled"
    assert len(ended) == 3


async def test_what_was_within_the_limits_is_so_on_replay(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        think = {"name": "t", "usage": {"input_tokens": 60}}
        await ctx.gather({str(i): lambda c: c.perform("think", think) for i in range(2)})
        await ctx.perform("do", {"name": "gate"})
        return "fine"

    gate = asyncio.Event()

    async def wait(ctx: OperationContext, arguments: Any) -> Any:
        await gate.wait()

    async def think(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.sleep(0)
        return {"usage": arguments["usage"]}

    lab.bodies.update(gate=wait, t=think)
    runtime, run = await lab.start(program, limits={"maxTokens": 50})
    await lab.until(_did(lab, "gate"))
    await lab.crash(runtime)
    gate.set()
    other = await lab.next()
    assert (await other.runs.wait(run.key))["output"] == "fine"


async def test_a_large_result_is_replayed(lab: Lab) -> None:
    size = 1_300_000

    async def program(ctx: RunContext, input: Any) -> Any:
        got = await ctx.perform("do", {"name": "large"})
        await ctx.perform("do", {"name": "gate"})
        return len(got)

    gate = asyncio.Event()

    async def large(ctx: OperationContext, arguments: Any) -> Any:
        return "x" * size

    async def wait(ctx: OperationContext, arguments: Any) -> Any:
        await gate.wait()

    lab.bodies.update(large=large, gate=wait)
    runtime, run = await lab.start(program)
    await lab.until(_did(lab, "gate"))
    await lab.crash(runtime)
    gate.set()
    other = await lab.next()
    assert (await other.runs.wait(run.key))["output"] == size
    assert lab.done.count("large") == 1


# ---------------------------------------------------------------------------------------------- stores that fail


async def _three(ctx: RunContext, input: Any) -> Any:
    for name in ("a", "b", "c"):
        await ctx.perform("do", {"name": name})
    return "done"


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("what", [AppendRecord, ReleaseRun])
async def test_a_commit_that_fails_once_is_repeated(lab: Lab, what: type[Any]) -> None:
    lab.store.fault = failing(1, what)
    _, run = await lab.start(_three)
    assert await run.result() == "done"
    assert lab.done == ["a", "b", "c"]


@pytest.mark.usefixtures("quick_retries")
async def test_a_run_that_the_store_refused_goes_on_in_the_same_process(lab: Lab) -> None:
    lab.store.fault = failing(3)
    runtime, run = await lab.start(_three)
    with pytest.raises(RunFailedError, match="the run is not over"):
        await run.result()
    assert (await lab.status(run))["phase"] == "Running"
    assert await runtime.runs.recover() == [run.key]
    assert (await runtime.runs.wait(run.key))["output"] == "done"
    assert lab.done == ["a", "a", "b", "c"]


async def test_an_end_that_was_stored_though_the_store_said_no_is_an_end(lab: Lab) -> None:
    """The disk wrote the commit and failed afterwards."""

    class Late(FaultyStore):
        async def commit(self, operations: Sequence[Operation]) -> list[Any]:
            results = await super().commit(operations)
            if any(isinstance(operation, ReleaseRun) for operation in operations):
                raise StoreUnavailableError("failed after the write")
            return results

    lab.store = Late(lambda: lab.now)
    _, run = await lab.start(_three, thread="t")
    assert await run.result() == "done"


@pytest.mark.usefixtures("quick_retries")
async def test_a_store_that_fails_while_a_run_is_taken_over_does_not_fail_the_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def wait(ctx: OperationContext, arguments: Any) -> Any:
        await gate.wait()

    lab.bodies["b"] = wait
    runtime, run = await lab.start(_three)
    await lab.until(_did(lab, "b"))
    await lab.crash(runtime)
    gate.set()
    other = await lab.runtime()
    reads = [0]

    async def load(digest: str) -> Any:
        reads[0] += 1
        raise StoreUnavailableError("no")

    monkeypatch.setattr(other.runs.pins, "load", load)
    await other.runs.start()
    assert reads == [1]
    assert (await lab.status(run))["phase"] == "Running"
    monkeypatch.undo()
    assert await other.runs.recover() == [run.key]
    assert (await other.runs.wait(run.key))["output"] == "done"


async def test_a_start_that_failed_may_be_repeated(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    renew = runtime.runs.worker.renew

    async def refuse() -> bool:
        raise StoreUnavailableError("no")

    monkeypatch.setattr(runtime.runs.worker, "renew", refuse)
    with pytest.raises(StoreUnavailableError):
        await runtime.start_run("jobs/job", 1)
    assert await lab.all() == []
    monkeypatch.setattr(runtime.runs.worker, "renew", renew)
    assert await (await runtime.start_run("jobs/job", 1)).result() == 1


async def test_no_run_is_claimed_before_the_lease_is_taken(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another process would take a run whose worker seems to be dead."""
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    may, renew = asyncio.Event(), runtime.runs.worker.renew

    async def late() -> bool:
        await may.wait()
        return await renew()

    monkeypatch.setattr(runtime.runs.worker, "renew", late)
    starts = [asyncio.create_task(runtime.start_run("jobs/job", i)) for i in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert await lab.all() == []
    may.set()
    for start in starts:
        await (await start).result()


async def test_a_start_that_is_cancelled_leaves_no_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    await runtime.runs.start()
    commit, reached = lab.store.commit, asyncio.Event()

    async def slow(operations: Sequence[Operation]) -> list[Any]:
        results = await commit(operations)
        if any(isinstance(operation, ClaimRun) for operation in operations):
            reached.set()
            await asyncio.Event().wait()
        return results

    monkeypatch.setattr(lab.store, "commit", slow)
    start = asyncio.create_task(runtime.start_run("jobs/job", 1))
    await reached.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert await lab.all() == []
    assert await lab.store.journal.claims() == []


async def test_a_child_whose_start_is_cancelled_is_no_run_either(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        return await ctx.call(SELF, "child")

    runtime, first = await lab.start(lab._nothing)
    await first.result()
    lab.program = program
    commit, reached = lab.store.commit, asyncio.Event()

    async def slow(operations: Sequence[Operation]) -> list[Any]:
        results = await commit(operations)
        if any(isinstance(o, CreateResource) and "parent" in o.resource.spec for o in operations):
            reached.set()
            await asyncio.Event().wait()
        return results

    monkeypatch.setattr(lab.store, "commit", slow)
    run = await runtime.start_run("jobs/job", 1)
    await reached.wait()
    await run.cancel()
    assert await lab.phases() == ["Cancelled", "Succeeded"]
    assert await lab.store.journal.claims() == []


async def test_a_closed_runtime_starts_nothing(lab: Lab) -> None:
    runtime, run = await lab.start(lab._nothing)
    await run.result()
    await runtime.runs.aclose()
    with pytest.raises(UserError, match="closed"):
        await runtime.start_run("jobs/job")


@pytest.mark.usefixtures("quick_retries")
async def test_a_broken_watch_of_signals_is_begun_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = asyncio.Event()

    class Broken:
        def __aiter__(self) -> Broken:
            return self

        async def __anext__(self) -> Any:
            await broken.wait()
            raise StoreUnavailableError("the watch broke")

    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.perform("do", {"name": "gate"})

    async def gate(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.Event().wait()

    lab.bodies["gate"] = gate
    watch = lab.store.journal.watch_signals
    watches = [Broken(), watch()]
    journal = types.SimpleNamespace(
        **{name: getattr(lab.store.journal, name) for name in ("records", "claims", "claim", "signals")},
        watch_signals=lambda: watches.pop(0),
    )
    monkeypatch.setattr(lab.store, "journal", journal)
    _, run = await lab.start(program)
    await lab.until(_did(lab, "gate"))
    other = await lab.runtime()
    await other.runs.cancel(run.key)
    broken.set()
    assert (await run.status())["phase"] == "Cancelled"


async def test_a_run_of_a_kind_that_is_not_installed_is_left_to_others(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()

    async def wait(ctx: OperationContext, arguments: Any) -> Any:
        await gate.wait()

    lab.bodies["b"] = wait
    runtime, run = await lab.start(_three)
    await lab.until(_did(lab, "b"))
    await lab.crash(runtime)
    poor = await lab.runtime(kinds=False)
    await poor.runs.start()
    await poor.runs.recover()
    assert (await lab.status(run))["phase"] == "Running"
    told = "is left to another worker: Job.mastra.ai is of plugin faults, which is not installed"
    assert caplog.text.count(told) == 1
    gate.set()
    other = await lab.next()
    assert (await other.runs.wait(run.key))["output"] == "done"


async def test_a_run_of_a_kind_that_is_not_installed_can_be_cancelled(lab: Lab) -> None:
    async def wait(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.Event().wait()

    lab.bodies["b"] = wait
    runtime, run = await lab.start(_three)
    await lab.until(_did(lab, "b"))
    await lab.crash(runtime)
    poor = await lab.runtime(kinds=False)
    await poor.runs.cancel(run.key)
    assert await lab.phases() == ["Cancelled"]


async def test_labels_may_be_changed_while_a_run_is_executed_or_suspended(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.perform("do", {"name": "label"})
        await ctx.wait_signal("go")
        await ctx.perform("do", {"name": "label"})
        return "done"

    runtime = await lab.runtime()

    async def label(ctx: OperationContext, arguments: Any) -> Any:
        [run] = await lab.all()
        await runtime.client.update(run.evolve(labels={"n": str(len(lab.done))}))

    lab.bodies["label"] = label
    runtime, run = await lab.start(program)
    await runtime.runs.drain()
    [stored] = await lab.all()
    await runtime.client.update(stored.evolve(labels={"n": "x"}))
    await runtime.runs.signal(run.key, "go")
    assert await run.result() == "done"
    [stored] = await lab.all()
    assert stored.metadata.labels == {"n": "2"}


async def test_leases_of_workers_that_died_long_ago_are_forgotten(lab: Lab) -> None:
    for _ in range(3):
        runtime = await lab.next()
        await lab.crash(runtime)
    lab.now += 7200
    await lab.next()
    assert len(await lab.store.leases.list("worker/")) == 1


# ---------------------------------------------------------------------------------------------- signals and timers


async def test_a_signal_that_another_branch_saw_still_wakes_the_one_that_waits_for_it(lab: Lab) -> None:
    runtime: RuntimeManager

    async def program(ctx: RunContext, input: Any) -> Any:
        async def late(inner: RunContext) -> Any:
            await inner.perform("do", {"name": "signal"})
            return await inner.wait_signal("x")

        return await ctx.gather({"early": lambda c: c.wait_signal("y"), "late": late})

    async def send(ctx: OperationContext, arguments: Any) -> Any:
        [run] = await lab.all()
        await runtime.runs.signal(run.key, "y", 1)

    lab.bodies["signal"] = send
    lab.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    run = await runtime.start_run("jobs/job")
    await lab.until(_recorded(lab, run, '"sig"'))
    await runtime.runs.drain()
    await runtime.runs.signal(run.key, "x", 2)
    assert await run.result() == {"early": 1, "late": 2}


async def test_a_signal_that_came_while_no_process_was_there_wakes_the_run(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        return await ctx.wait_signal("go")

    runtime, run = await lab.start(program)
    await runtime.runs.drain()
    await lab.crash(runtime)
    sender = await lab.runtime()
    await sender.runs.signal(run.key, "other")
    other = await lab.next()
    assert other.runs.resumed == [], "it does not wait for that one"
    await lab.crash(other)
    await sender.runs.signal(run.key, "go", 5)
    other = await lab.next()
    assert (await other.runs.wait(run.key))["output"] == 5


async def test_a_suspended_run_shows_what_it_waits_for_and_a_woken_one_that_it_runs(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.perform("think", {"name": "t", "usage": {"input_tokens": 7}})
        await ctx.wait_signal("go")
        await ctx.perform("do", {"name": "gate"})

    gate = asyncio.Event()

    async def wait(ctx: OperationContext, arguments: Any) -> Any:
        await gate.wait()

    lab.bodies["gate"] = wait
    runtime, run = await lab.start(program)
    await runtime.runs.drain()
    status = await lab.status(run)
    assert status["waitsFor"] == ["go"]
    assert status["usage"]["inputTokens"] == 7
    started = status["startedAt"]
    lab.now += 5
    await runtime.runs.signal(run.key, "go")
    await lab.until(_did(lab, "gate"))
    status = await lab.status(run)
    assert (status["phase"], status["startedAt"]) == ("Running", started)
    assert "waitsFor" not in status
    gate.set()
    await run.result()


async def test_a_run_that_another_worker_took_meanwhile_is_no_failure_of_the_store(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.wait_signal("never")

    first, run = await lab.start(program)
    await first.runs.drain()
    await lab.crash(first)
    # It works on no runs, so it has no lease: what it claims anybody may take.
    brief, server = await lab.runtime(), await lab.runtime()
    is_cancelled = brief.runs.recovery._is_cancelled

    async def slowly(uid: str) -> bool:
        await server.runs.start()
        lab.now += 1
        return await is_cancelled(uid)

    monkeypatch.setattr(brief.runs.recovery, "_is_cancelled", slowly)
    await brief.runs.cancel(run.key)
    assert (await lab.status(run))["phase"] == "Cancelled"
    assert caplog.text == ""


async def test_a_suspended_run_is_ended_by_its_time_limit(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.wait_signal("never")

    runtime, run = await lab.start(program, limits={"timeoutS": 100})
    await runtime.runs.drain()
    lab.now += 101
    runtime.runs.look_again()
    with pytest.raises(RunFailedError, match="timeoutS"):
        await run.result()


async def test_the_handle_of_a_suspended_run_cancels_it_and_keeps_its_use(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.perform("think", {"name": "t", "usage": {"input_tokens": 7}})
        await ctx.wait_signal("never")

    runtime, run = await lab.start(program)
    await runtime.runs.drain()
    await run.cancel()
    status = await lab.status(run)
    assert (status["phase"], status["usage"]["inputTokens"]) == ("Cancelled", 7)
    await run.cancel()


async def test_a_run_that_was_cancelled_does_not_come_back_when_the_process_ends_first(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        await ctx.perform("do", {"name": "x"})

    async def stubborn(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.Event().wait()

    lab.bodies["x"] = stubborn
    runtime, run = await lab.start(program)
    await lab.until(_did(lab, "x"))
    runtime.runs.cancel_local(run.uid)
    await runtime.runs.aclose()
    await lab.next()
    assert await lab.phases() == ["Cancelled"]
    assert lab.done == ["x"]


async def test_a_run_that_suspends_often_leaves_one_timer(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        for _ in range(20):
            await ctx.wait_signal("go", timeout_s=1000)
        return "done"

    runtime, run = await lab.start(program, limits={"timeoutS": 100})
    for _ in range(20):
        await runtime.runs.drain()
        await runtime.runs.signal(run.key, "go")
        await lab.until(_awake(lab, runtime))
    assert await run.result() == "done"
    assert runtime.runs.recovery._instants == {}
    lab.now += 2000
    runtime.runs.look_again()
    await lab.until(_no_timers(runtime))


# ---------------------------------------------------------------------------------------------- children


async def _parent_of_waiting_child(ctx: RunContext, input: Any) -> Any:
    if input == "child":
        return await ctx.wait_signal("go")
    return await ctx.call(SELF, "child")


async def _child(lab: Lab) -> Resource:
    return next(run for run in await lab.all() if "parent" in run.spec)


async def test_the_end_of_a_child_wakes_its_parent_even_if_the_process_dies_in_between(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, run = await lab.start(_parent_of_waiting_child)
    await runtime.runs.drain()
    hear = runtime.runs.recovery._hear

    async def only_the_childs(signal: Any) -> None:
        if signal.run != run.uid:
            await hear(signal)

    monkeypatch.setattr(runtime.runs.recovery, "_hear", only_the_childs)
    child = await _child(lab)
    await runtime.runs.signal(child.key, "go", 3)
    await runtime.runs.wait(child.key)
    assert (await lab.status(run))["phase"] == "Suspended"
    await lab.crash(runtime)
    other = await lab.next()
    assert (await other.runs.wait(run.key))["output"] == 3


async def test_a_child_that_ends_while_its_parent_is_being_suspended_wakes_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await lab.runtime()
    lab.program = _parent_of_waiting_child
    await runtime.apply([JOB], wait=False)
    commit, held, may = lab.store.commit, asyncio.Event(), asyncio.Event()

    async def hold_parent(operations: Sequence[Operation]) -> list[Any]:
        release = next((o for o in operations if isinstance(o, ReleaseRun)), None)
        if release is not None and not release.finished and release.run == run.uid and not may.is_set():
            held.set()
            await may.wait()
        return await commit(operations)

    monkeypatch.setattr(lab.store, "commit", hold_parent)
    run = await runtime.start_run("jobs/job")
    await held.wait()
    child = await _child(lab)
    await runtime.runs.signal(child.key, "go", 4)
    await runtime.runs.wait(child.key)
    may.set()
    assert await run.result() == 4


async def test_cancelling_a_parent_cancels_its_children(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        if input == "child":
            await ctx.perform("do", {"name": "gate"})
            return None
        return await ctx.gather({str(i): lambda c: c.call(SELF, "child") for i in range(3)})

    async def gate(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.Event().wait()

    lab.bodies["gate"] = gate
    runtime, run = await lab.start(program)
    await lab.until(_did(lab, "gate", 3))
    await run.cancel()
    await runtime.runs.drain()
    assert await lab.phases() == ["Cancelled"] * 4


async def test_cancelling_a_suspended_parent_cancels_its_suspended_child(lab: Lab) -> None:
    runtime, run = await lab.start(_parent_of_waiting_child)
    await runtime.runs.drain()
    await runtime.runs.cancel(run.key)

    async def both() -> bool:
        return await lab.phases() == ["Cancelled", "Cancelled"]

    await lab.until(both)
    assert await lab.store.journal.claims() == []


async def test_a_parent_that_fails_ends_its_children(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        if input == "child":
            await ctx.perform("do", {"name": "gate"})
            return None
        return await ctx.call(SELF, "child")

    async def gate(ctx: OperationContext, arguments: Any) -> Any:
        await asyncio.Event().wait()

    lab.bodies["gate"] = gate
    runtime, run = await lab.start(program, limits={"timeoutS": 0.02})
    with pytest.raises(RunFailedError, match="timeoutS"):
        await run.result()
    await runtime.runs.drain()
    assert await lab.phases() == ["Cancelled", "Failed"]


async def test_deleting_a_parent_deletes_its_children(lab: Lab) -> None:
    runtime, run = await lab.start(_parent_of_waiting_child)
    await runtime.runs.drain()
    await runtime.client.delete(run.key)
    assert await lab.all() == []
    assert await lab.store.journal.claims() == []
    # The child's word of its end goes with the parent that it was for.
    assert list(await lab.store.journal.signals(run.uid)) == []


async def test_a_parent_learns_that_its_child_was_deleted(lab: Lab) -> None:
    runtime, run = await lab.start(_parent_of_waiting_child)
    await runtime.runs.drain()
    await runtime.client.delete((await _child(lab)).key)
    with pytest.raises(RunFailedError, match="was deleted"):
        await run.result()


async def test_a_child_has_the_tighter_of_its_own_limit_and_what_its_parent_has_left(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        if input == "child":
            return None
        await ctx.perform("think", {"name": "t"})
        return await ctx.call(SELF, "child")

    own = {"limits": {"maxModelCalls": 3, "maxTokens": 1000}}
    _, run = await lab.start(program, spec=own, limits={"maxModelCalls": 100, "maxTokens": 50})
    await run.result()
    limits = (await _child(lab)).spec["limits"]
    assert (limits["maxModelCalls"], limits["maxTokens"]) == (3, 50)


async def test_calls_of_a_child_count_for_its_parent(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        if input == "child":
            for _ in range(2):
                await ctx.perform("think", {"name": "c"})
            return None
        await ctx.call(SELF, "child")
        for _ in range(5):
            await ctx.perform("think", {"name": "p"})

    _, run = await lab.start(program, limits={"maxModelCalls": 4})
    with pytest.raises(RunFailedError, match="maxModelCalls"):
        await run.result()
    assert lab.done == ["c", "c", "p", "p"]


async def test_runs_that_call_each_other_in_a_circle_end_at_a_depth(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        try:
            return await ctx.call(SELF, input)
        except OperationError:
            # As an agent would: the model sees the error and tries again.
            return await ctx.call(SELF, input)

    spec = {"recursive": True, "scaling": {"maxReplicas": 1}}
    _, run = await lab.start(program, spec=spec)
    with pytest.raises(RunFailedError, match="circle"):
        await run.result()
    assert (await lab.status(run))["reason"] == "DepthExceeded"
    assert len(await lab.all()) == MAX_DEPTH + 1


async def test_a_child_of_its_own_target_does_not_wait_for_its_parents_slot(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        return "c" if input == "child" else await ctx.call(SELF, "child")

    _, run = await lab.start(program, spec={"recursive": True, "scaling": {"maxReplicas": 1}})
    assert await run.result() == "c"


async def test_two_runs_whose_names_clash_both_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, first = await lab.start(lab._nothing, 1)
    uid = first.uid[:8] + "-0000-4000-8000-000000000000"
    monkeypatch.setattr("uuid.uuid4", lambda: uid)
    second = await runtime.start_run("jobs/job", 2)
    assert [await first.result(), await second.result()] == [1, 2]
    assert second.name.startswith(first.name)


async def test_a_name_that_is_taken_is_not_taken_for_a_child(lab: Lab) -> None:
    async def program(ctx: RunContext, input: Any) -> Any:
        if input == "parent":
            await ctx.perform("do", {"name": "take"})
            return await ctx.call(SELF, "child")
        return input

    runtime = await lab.runtime()

    async def take(ctx: OperationContext, arguments: Any) -> Any:
        import uuid

        [parent] = await lab.all()
        uid = uuid.uuid5(uuid.UUID(parent.metadata.uid), "/job:job#0").hex
        await runtime.start_run("jobs/job", "foreign", name=f"{parent.metadata.name}-{uid[:12]}")

    lab.bodies["take"] = take
    runtime, run = await lab.start(program, "parent")
    with pytest.raises(RunFailedError, match="is taken by another run"):
        await run.result()


# ---------------------------------------------------------------------------------------------- conditions


def _did(lab: Lab, name: str, times: int = 1) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return lab.done.count(name) >= times

    return condition


def _recorded(lab: Lab, run: RunHandle, text: str) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return text.strip('"') in str([line.record for line in await lab.store.journal.records(run.uid)])

    return condition


def _awake(lab: Lab, runtime: RuntimeManager) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        used = [s for run in await lab.all() for s in await lab.store.journal.signals(run.metadata.uid)]
        records = [line for run in await lab.all() for line in await lab.store.journal.records(run.metadata.uid)]
        return sum("sig" in line.record for line in records) == len(used)

    return condition


def _no_timers(runtime: RuntimeManager) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return not runtime.runs.recovery._timers

    return condition


def test_the_key_of_the_test_kind_is_what_the_reference_says() -> None:
    assert SELF.key == ResourceKey("mastra.ai", "Job", "default", "job")
