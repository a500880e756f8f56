"""A runtime with operations that count, fail and wait, a scripted model and tools: for the tests of the runner."""

from __future__ import annotations

import asyncio
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core import PluginManager, ResourceKind, RuntimeManager, hookimpl
from kastra_core.api.meta import JsonObject, Resource, ResourceKey
from kastra_core.config import Config
from kastra_core.errors import OperationError
from kastra_core.execution.runs import RunHandle
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.runner import OperationContext
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_core.runtime import registry_of
from kastra_core.testing.fakes import FakeModelProvider

__all__ = ["Stage", "ended", "stage", "step"]


def step(id: str, /, **fields: Any) -> JsonObject:
    """A step; without a body it is the operation ``test.do``, which gives its arguments back."""
    bodies = {"agent", "tool", "workflow", "network", "operation", "set", "branch", "parallel", "foreach", "loop"}
    bodies |= {"sleep", "waitForEvent", "suspend", "succeed", "fail"}
    if not bodies & fields.keys():
        fields = {"operation": "test.do", **fields}
    return {"id": id, **fields}


class Stage:
    """The world that the operations of a test touch; it outlives its runtimes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_800_000_000.0
        self.store = MemoryStore(clock=lambda: self.now)
        self.model = FakeModelProvider(default="hi")
        self.calls: list[tuple[str, Any]] = []
        """(journal path, arguments) of each time that ``test.do`` began."""
        self.ended: list[str] = []
        """Journal paths of those that were carried out to their end."""
        self.keys: dict[str, set[str]] = {}
        """Journal path -> idempotency keys that it was carried out with."""
        self.gates: dict[str, asyncio.Event] = {}
        self.entered: dict[str, asyncio.Event] = {}
        self.failures: Counter[str] = Counter()
        self.tools: list[JsonObject] = []
        self.events: list[JsonObject] = []
        self.runtimes: list[RuntimeManager] = []

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    def entry(self, name: str) -> asyncio.Event:
        return self.entered.setdefault(name, asyncio.Event())

    def paths(self) -> list[str]:
        return [path for path, _ in self.calls]

    async def do(self, ctx: OperationContext, arguments: JsonObject) -> Any:
        """Give back ``result`` (default: the arguments).

        ``gate``: wait at it. ``fail``: so many times with ``reason``; those of one ``key`` (default: the journal path
        without its number) are counted together.
        """
        self.calls.append((ctx.path, arguments))
        self.keys.setdefault(ctx.path, set()).add(ctx.idempotency_key)
        gate = arguments.get("gate")
        if gate:
            self.entry(gate).set()
            await self.gate(gate).wait()
        key = arguments.get("key") or ctx.path.rpartition("#")[0]
        if self.failures[key] < arguments.get("fail", 0):
            self.failures[key] += 1
            raise OperationError(arguments.get("message", "it broke"), reason=arguments.get("reason", "Broken"))
        self.ended.append(ctx.path)
        return arguments.get("result", arguments)

    async def invoke(self, ctx: OperationContext, arguments: JsonObject) -> Any:
        self.tools.append({"path": ctx.path, **arguments})
        return {
            "output": {"from": arguments["tool"]["name"], "got": arguments.get("arguments", arguments.get("input"))}
        }

    def plugin(self) -> types.ModuleType:
        module = types.ModuleType("workflow_test_plugin")

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            return [self.model.registration("fake", keyless=False)]

        @hookimpl
        def kastra_resource_kinds() -> list[ResourceKind]:
            return [ResourceKind(kind="Tool", plural="tools")]

        @hookimpl
        def kastra_operations() -> list[OperationRegistration]:
            return [
                OperationRegistration(name="test.do", handler=self.do),
                OperationRegistration(name="tool.invoke", handler=self.invoke, counts_as="tool"),
            ]

        for hook in (kastra_model_providers, kastra_resource_kinds, kastra_operations):
            setattr(module, hook.__name__, hook)
        return module

    def plugins(self) -> PluginManager:
        return PluginManager(
            discover=False,
            extra=[
                ("agent", "kastra_plugin_agent.hooks"),
                ("libsql", "kastra_plugin_libsql.hooks"),
                ("workflow", "kastra_plugin_workflow.hooks"),
                ("test", self.plugin()),
            ],
        )

    async def runtime(self) -> RuntimeManager:
        """A runtime on the store in memory, with the stage's clock."""
        plugins = self.plugins()
        runtime = RuntimeManager(
            store=self.store,
            config=Config.load(self.path, env={}),
            plugins=plugins,
            registry=registry_of(plugins),
            clock=lambda: self.now,
        )
        self.runtimes.append(runtime)
        return runtime

    async def on_file(self, **changes: Any) -> RuntimeManager:
        """A runtime on a file; the next one finds what this one left."""
        config = attrs.evolve(Config.load(self.path, env={}), **changes)
        runtime = await RuntimeManager.open(f"file:{self.path / 'k.db'}", config=config, plugins=self.plugins())
        self.runtimes.append(runtime)
        return runtime

    @staticmethod
    async def apply(runtime: RuntimeManager, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        manifest = {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        applied = await runtime.apply_resource(manifest, wait=False)
        if kind == "Tool":
            ready = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}
            await runtime.client.update_status(applied.resource, {"conditions": [ready]})

    async def start(
        self,
        spec: Mapping[str, Any] | list[JsonObject],
        input: Any = None,
        *,
        runtime: RuntimeManager | None = None,
        listen: bool = True,
        **options: Any,
    ) -> RunHandle:
        """Start a workflow ``w`` of this spec, or of these steps."""
        runtime = runtime or await self.runtime()
        await self.apply(runtime, "Workflow", "w", {"steps": spec} if isinstance(spec, list) else spec)
        self.events.clear()
        if listen:
            options["listener"] = self.events.append
        # Whether it is Ready is the controller's; here it is run as it is.
        options.setdefault("require_ready", False)
        return await runtime.start_run("workflows/w", input, **options)

    async def run(self, spec: Mapping[str, Any] | list[JsonObject], input: Any = None, **options: Any) -> JsonObject:
        """Carry out a workflow and return the status of its run."""
        return await (await self.start(spec, input, **options)).status()

    async def output(self, spec: Mapping[str, Any] | list[JsonObject], input: Any = None, **options: Any) -> Any:
        status = await self.run(spec, input, **options)
        assert status["phase"] == "Succeeded", status
        return status.get("output")

    def of_type(self, *types: str) -> list[JsonObject]:
        return [event for event in self.events if event["type"] in types]

    async def parked(self, run: RunHandle) -> Resource:
        """The Run, once it is suspended (or over) for the first time."""
        async for _ in run.events():
            pass
        return await self.runtimes[-1].client.require(run.key)

    async def until(self, key: ResourceKey, is_so: Callable[[Resource], bool]) -> Resource:
        """The Run as soon as something is true of it."""
        client = self.runtimes[-1].client
        kind = self.runtimes[-1].registry.of_key(key)
        changes = client.watch(kind, namespace=key.namespace)
        try:
            run = await client.require(key)
            while not is_so(run):
                event = await anext(changes)
                if event.resource.key == key:
                    run = event.resource
            return run
        finally:
            await changes.aclose()  # type: ignore[attr-defined]

    def move_clock(self, seconds: float) -> None:
        self.now += seconds
        for runtime in self.runtimes:
            runtime.runs.look_again()

    async def aclose(self) -> None:
        for gate in self.gates.values():
            gate.set()
        for runtime in self.runtimes:
            await runtime.aclose()
        await self.store.aclose()


def ended(status: Mapping[str, Any]) -> tuple[str, str, str]:
    """(phase, reason, message)"""
    return status["phase"], status.get("reason", ""), status.get("message", "")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.aclose()
