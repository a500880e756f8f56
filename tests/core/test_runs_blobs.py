"""Runs hold the bytes that they pinned: nothing takes them away under a run, whoever deletes what meanwhile."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource
from kastra_core.api.references import Reference
from kastra_core.config import Config
from kastra_core.execution.runs import RunHandle
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.runner import RunContext
from kastra_core.protocols.store import Claim, HoldBlob, Operation, ReleaseBlobs
from kastra_core.runtime import registry_of

JOB = {"apiVersion": "mastra.ai/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {}}
CHILD = Reference(kind="Job", namespace="default", name="child")


class Runner:
    """Input "wait": until the signal "go". Input "call": the job "child", which waits."""

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        if input == "wait":
            return await ctx.wait_signal("go")
        if input == "call":
            return await ctx.call(CHILD, "wait")
        return target.spec.get("version", 0)


def plugin() -> types.ModuleType:
    module = types.ModuleType("blobs_plugin")

    @hookimpl
    def kastra_resource_kinds() -> list[ResourceKind]:
        return [ResourceKind(kind="Job", plural="jobs", runner=Runner)]

    module.kastra_resource_kinds = kastra_resource_kinds  # type: ignore[attr-defined]
    return module


class WatchedStore(MemoryStore):
    """``before(operations)`` is awaited before a commit is done."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[Sequence[Operation]], Any] | None = None

    async def commit(self, operations: Sequence[Operation]) -> list[Any]:
        if self.before is not None:
            await self.before(operations)
        return await super().commit(operations)


class Lab:
    def __init__(self, project: Path) -> None:
        self.project, self.store = project, WatchedStore()
        self.runtimes: list[RuntimeManager] = []

    async def runtime(self) -> RuntimeManager:
        plugins = PluginManager(discover=False, extra=[("blobs", plugin())])
        config = Config.load(self.project, env={})
        runtime = RuntimeManager(store=self.store, config=config, plugins=plugins, registry=registry_of(plugins))
        self.runtimes.append(runtime)
        return runtime

    async def digest(self, run: RunHandle) -> str:
        found = await self.store.resources.get(run.key)
        assert found is not None
        return str(found.spec["pinned"])

    async def until(self, condition: Callable[[Sequence[Claim]], bool]) -> None:
        """Wait until it is true of the unfinished runs."""
        async with asyncio.timeout(5):
            while not condition(await self.store.journal.claims()):
                await asyncio.sleep(0)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.store.before = None
    for runtime in made.runtimes:
        await runtime.runs.aclose()
    await made.store.aclose()


async def test_the_last_holder_may_go_between_the_look_and_the_commit_of_the_next_run(lab: Lab) -> None:
    runtime, other = await lab.runtime(), await lab.runtime()
    await runtime.apply([JOB], wait=False)
    first = await runtime.start_run("jobs/job")
    await first.result()
    digest = await lab.digest(first)
    tried: list[bool] = []

    async def delete_first(operations: Sequence[Operation]) -> None:
        if not tried and any(isinstance(operation, HoldBlob) for operation in operations):
            tried.append(True)
            await other.client.delete(first.key)
            assert not await lab.store.blobs.has(digest)

    lab.store.before = delete_first
    second = await runtime.start_run("jobs/job")
    assert await second.result() == 0
    assert tried
    assert await lab.digest(second) == digest
    assert await lab.store.blobs.has(digest)
    assert len((await lab.store.resources.list("mastra.ai", "Run")).items) == 1


async def test_a_child_keeps_its_own_pins_when_all_else_that_held_them_is_deleted(lab: Lab) -> None:
    runtime = await lab.runtime()
    child = {**JOB, "metadata": {"name": "child"}}
    await runtime.apply([JOB, child], wait=False)
    before = await runtime.start_run("jobs/child")
    await before.result()
    parent = await runtime.start_run("jobs/job", "call")
    await lab.until(lambda claims: any(not claim.holder and claim.key != parent.key for claim in claims))
    await runtime.client.delete(before.key)
    await runtime.client.delete(CHILD.key)
    await runtime.runs.aclose()
    # A process that remembers nothing goes on with both.
    heir = await lab.runtime()
    await heir.runs.start()
    [waiting] = [claim for claim in await lab.store.journal.claims() if claim.key != parent.key]
    await heir.runs.signal(waiting.key, "go", "done")
    await lab.until(lambda claims: not claims)
    found = await lab.store.resources.get(parent.key)
    assert found is not None
    assert found.status["phase"] == "Succeeded"


async def test_a_run_whose_pins_were_taken_away_is_ended_with_the_reason_by_who_takes_it_over(lab: Lab) -> None:
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    run = await runtime.start_run("jobs/job", "wait")
    await lab.until(lambda claims: any(not claim.holder for claim in claims))
    await runtime.runs.aclose()
    [held] = await lab.store.commit([ReleaseBlobs(run.uid)])
    assert held == 1
    heir = await lab.runtime()
    await heir.runs.start()
    await heir.runs.signal(run.key, "go")
    await lab.until(lambda claims: not claims)
    found = await lab.store.resources.get(run.key)
    assert found is not None
    assert (found.status["phase"], found.status["reason"]) == ("Failed", "NotFound")


async def test_the_target_is_pinned_as_it_is_now_when_a_run_is_started_once_more(lab: Lab) -> None:
    runtime = await lab.runtime()
    await runtime.apply([{**JOB, "spec": {"version": 1}}], wait=False)
    first = await runtime.start_run("jobs/job")
    assert await first.result() == 1
    await runtime.apply([{**JOB, "spec": {"version": 2}}], wait=False)
    second = await runtime.start_run("jobs/job")
    assert await second.result() == 2
    one, two = await lab.digest(first), await lab.digest(second)
    await runtime.client.delete(first.key)
    assert [await lab.store.blobs.has(digest) for digest in (one, two)] == [False, True]
