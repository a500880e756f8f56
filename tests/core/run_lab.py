"""Runtimes that come and go on one store, for tests of durable runs."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from kastra_core import PluginManager, RuntimeManager, hookimpl
from kastra_core.api.kind import ResourceKind
from kastra_core.api.meta import Resource
from kastra_core.api.references import Reference
from kastra_core.config import Config
from kastra_core.errors import OperationError, Problem
from kastra_core.execution.runs import RunHandle
from kastra_core.memory_store import MemoryStore
from kastra_core.plugins import PluginManager as Manager
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.protocols.store import AppendMessages
from kastra_core.registrations import OperationRegistration
from kastra_core.runtime import registry_of

__all__ = ["JOB", "Lab", "Program", "World", "started", "stored"]

Program = Callable[[RunContext, Resource, Any], Awaitable[Any]]


class World:
    """What the operations of a test touch: it outlives a crash of the runtime, as the real world does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.keys: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.entered: dict[str, asyncio.Event] = {}
        self.now = 1_000_000.0
        self.program: Program = self._nothing

    async def _nothing(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        return input

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    def entry(self, name: str) -> asyncio.Event:
        return self.entered.setdefault(name, asyncio.Event())

    async def note(self, ctx: OperationContext, arguments: dict[str, Any]) -> Any:
        """Record the call; wait at a gate when asked to; fail when asked to."""
        name = arguments["name"]
        self.calls.append((name, arguments.get("value")))
        self.keys.append(ctx.idempotency_key)
        self.entry(name).set()
        if arguments.get("gate"):
            await self.gate(name).wait()
        if arguments.get("fail"):
            raise OperationError("it broke", reason="Broken", retryable=True)
        if arguments.get("bug"):
            raise ZeroDivisionError("oops")
        return {"did": name, "usage": arguments.get("usage", {})}

    async def say(self, ctx: OperationContext, arguments: dict[str, Any]) -> Any:
        """Append a message to the thread "said", with the record."""
        ctx.write(AppendMessages("default", "said", [{"role": "user", "parts": []}]))


class ProgramRunner:
    def __init__(self, world: World) -> None:
        self.world = world

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        return await self.world.program(ctx, target, input)


def plugin_of(world: World) -> types.ModuleType:
    module = types.ModuleType("test_runs_plugin")

    @hookimpl
    def kastra_resource_kinds() -> list[ResourceKind]:
        def references(resource: Resource) -> list[Reference]:
            return [
                Reference(kind=kind, namespace=resource.metadata.namespace, name=name)
                for kind, field in (("Part", "parts"), ("Job", "jobs"))
                for name in resource.spec.get(field, [])
            ]

        def check_signal(run: Resource, name: str, payload: Any) -> Iterable[Problem]:
            for item in run.status.get("awaiting") or ():
                if item["signal"] == name and "least" in item and payload < item["least"]:
                    yield Problem(f"expected at least {item['least']}, found {payload}")

        return [
            ResourceKind(
                kind="Job",
                plural="jobs",
                runner=lambda: ProgramRunner(world),
                references=references,
                check_signal=check_signal,
            ),
            ResourceKind(kind="Part", plural="parts"),
        ]

    @hookimpl
    def kastra_operations() -> list[OperationRegistration]:
        return [
            OperationRegistration(name="note", handler=world.note),
            OperationRegistration(name="think", handler=world.note, counts_as="model"),
            OperationRegistration(name="use", handler=world.note, counts_as="tool"),
            OperationRegistration(name="embed", handler=world.note, counts_as="embedding"),
            OperationRegistration(name="say", handler=world.say),
        ]

    module.kastra_resource_kinds = kastra_resource_kinds  # type: ignore[attr-defined]
    module.kastra_operations = kastra_operations  # type: ignore[attr-defined]
    return module


class Lab:
    """Runtimes that come and go on one store."""

    def __init__(self, project: Path) -> None:
        self.world = World()
        self.store = MemoryStore(clock=lambda: self.world.now)
        self.config = Config.load(project, env={})
        self.runtimes: list[RuntimeManager] = []

    async def runtime(self) -> RuntimeManager:
        plugins: Manager = PluginManager(discover=False, extra=[("jobs", plugin_of(self.world))])
        runtime = RuntimeManager(
            store=self.store,
            config=self.config,
            plugins=plugins,
            registry=registry_of(plugins),
            clock=lambda: self.world.now,
        )
        self.runtimes.append(runtime)
        return runtime

    async def crash(self, runtime: RuntimeManager) -> None:
        """End a runtime as a killed process would: nothing more is written, its lease is not given back."""
        runs = runtime.runs
        tasks = [*runs.recovery.tasks, *(a.task for a in runs._active.values() if a.task)]
        runs.closing = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for active in runs._active.values():
            active.finished.cancel()
        runs._active.clear()
        runs.worker.registered = False
        # The process is this one, so only the end of its lease tells that it is gone.
        self.world.now += 60

    async def aclose(self) -> None:
        for runtime in self.runtimes:
            with contextlib.suppress(Exception):
                await runtime.runs.aclose()
        await self.store.aclose()


JOB = {"apiVersion": "mastra.ai/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {}}


async def started(lab: Lab, program: Program, input: Any = None, **options: Any) -> tuple[RuntimeManager, RunHandle]:
    lab.world.program = program
    runtime = await lab.runtime()
    await runtime.apply([JOB], wait=False)
    return runtime, await runtime.start_run("jobs/job", input, **options)


async def stored(runtime: RuntimeManager, run: RunHandle) -> Resource:
    return await runtime.client.require(run.key)
