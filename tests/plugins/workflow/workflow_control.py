"""Processes that keep the workflows of one store, on a clock that the test moves: for controller and schedules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kastra_core import RuntimeManager
from kastra_core.api.meta import JsonObject, Resource, ResourceKey, condition_of
from kastra_core.config import Config
from kastra_core.protocols.store import Store
from kastra_core.runtime import registry_of
from kastra_plugin_libsql.store import open_store
from workflow_stage import Stage

__all__ = ["World", "at", "world"]

GROUP = "mastra.ai"
NOON = "2026-01-05T12:00:00Z"


def at(text: str) -> float:
    """Unix seconds of an instant."""
    return datetime.fromisoformat(text).timestamp()


class World:
    """A store, a clock that stands at noon until it is moved, and processes."""

    def __init__(self, path: Path, *, in_memory: bool) -> None:
        self.stage = Stage(path)
        self.stage.now = at(NOON)
        self.clock: Callable[[], float] = lambda: self.stage.now
        self.path, self._in_memory = path, in_memory
        self.processes: list[RuntimeManager] = []

    @property
    def now(self) -> float:
        return self.stage.now

    async def store(self) -> Store:
        if self._in_memory:
            return self.stage.store
        store: Store = await open_store(f"file:{self.path / 'k.db'}", {"clock": lambda: self.clock()})
        return store

    async def process(self, *, works: bool = True, controllers: bool = True) -> RuntimeManager:
        """A process; ``works``: on runs, as ``kastra serve``; ``kastra apply`` runs controllers only."""
        plugins = self.stage.plugins()
        runtime = RuntimeManager(
            store=await self.store(),
            config=Config.load(self.path, env={}),
            plugins=plugins,
            registry=registry_of(plugins),
            clock=lambda: self.clock(),
        )
        self.processes.append(runtime)
        if works:
            await runtime.runs.start()
        if controllers:
            await runtime.start_controllers()
        return runtime

    async def apply(self, kind: str, name: str, spec: JsonObject, *, by: RuntimeManager | None = None) -> Resource:
        """Apply a resource and wait until it is reconciled."""
        manifest = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        applied = await (by or self.processes[0]).apply_resource(manifest)
        return applied.resource

    async def workflow(
        self, name: str = "w", *steps: JsonObject, by: RuntimeManager | None = None, **spec: Any
    ) -> Resource:
        given = list(steps) or [{"id": "do", "operation": "test.do"}]
        return await self.apply("Workflow", name, {"steps": given, **spec}, by=by)

    async def move_to(self, text: str, *runtimes: RuntimeManager) -> None:
        """Set the clock; the processes (default: all) look at it and do what is due."""
        self.stage.now = at(text)
        await self.look(*runtimes)

    async def look(self, *runtimes: RuntimeManager) -> None:
        """Have the processes look at the time."""
        found = [runtime for runtime in runtimes or self.processes if runtime.controllers.running]
        for runtime in found:
            [controller] = runtime.controllers.controllers(GROUP, "Workflow")
            controller.watch()  # type: ignore[attr-defined]
        for runtime in found:
            assert await runtime.controllers.settled()

    async def get(self, name: str = "w", kind: str = "Workflow") -> Resource:
        found = await self._find(name, kind)
        assert found is not None
        return found

    async def _find(self, name: str, kind: str) -> Resource | None:
        return await self.processes[0].store.resources.get(ResourceKey(GROUP, kind, "default", name))

    async def status(self, name: str = "w") -> JsonObject:
        return (await self.get(name)).status

    async def condition(self, type: str, name: str = "w") -> JsonObject | None:
        return condition_of(await self.get(name), type)

    async def runs(self) -> list[Resource]:
        """The runs that no other run started, by name."""
        listed = await self.processes[0].store.resources.list(GROUP, "Run")
        return sorted((run for run in listed.items if "parent" not in run.spec), key=lambda run: run.metadata.name)

    async def names(self) -> list[str]:
        return [run.metadata.name for run in await self.runs()]

    async def events(self) -> list[tuple[str, str]]:
        """(reason, message) of all Events, by time and then by reason."""
        listed = await self.processes[0].store.resources.list(GROUP, "Event")
        return sorted((event.spec["reason"], event.spec["message"]) for event in listed.items)

    async def until(self, holds: Callable[[Resource], bool], name: str = "w", kind: str = "Workflow") -> Resource:
        """The resource once it fits; each change is looked at as it comes."""
        client = self.processes[0].client
        changes = client.watch(self.processes[0].registry.resolve(kind))
        try:
            found = await self._find(name, kind)
            async with asyncio.timeout(20):
                while found is None or not holds(found):
                    event = await anext(changes)
                    if event.resource.metadata.name == name:
                        found = event.resource
            return found
        finally:
            await changes.aclose()  # type: ignore[attr-defined]

    async def over(self, name: str) -> Resource:
        """The run once it is over."""
        return await self.until(
            lambda run: run.status.get("phase") in ("Succeeded", "Failed", "Cancelled"), name, "Run"
        )

    async def aclose(self) -> None:
        for gate in self.stage.gates.values():
            gate.set()
        for runtime in self.processes:
            await runtime.aclose()
        await self.stage.aclose()


@pytest.fixture(params=["memory", "file"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, in_memory=request.param == "memory")
    yield made
    await made.aclose()
