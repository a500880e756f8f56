"""Migrated workflows on the store in memory, with a scripted model and tools whose functions are here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kastra_core.api.meta import JsonObject
from kastra_core.execution.runs import RunHandle
from kastra_core.migration import MemorySource, read_text
from kastra_core.protocols.migrator import MigrationResult, MigrationRow
from kastra_plugin_agent_framework import powerfx_functions
from kastra_plugin_agent_framework.migrator import AgentFrameworkMigrator
from migrated_stage import MigratedStage


class Migrated:
    """What came of a text."""

    def __init__(self, result: MigrationResult) -> None:
        self.result = result

    def one(self, kind: str, name: str = "") -> JsonObject:
        """The resource of a kind, by name where there are several."""
        found = [one for one in self.result.resources if one["kind"] == kind and name in ("", one["metadata"]["name"])]
        assert len(found) == 1, [one["metadata"]["name"] for one in self.result.resources]
        return found[0]

    @property
    def steps(self) -> list[JsonObject]:
        """Of the workflow."""
        return self.one("Workflow")["spec"]["steps"]  # type: ignore[no-any-return]

    def rows(self, key: str) -> list[MigrationRow]:
        return [row for row in self.result.rows if row.key == key]

    def outcomes(self, key: str) -> set[str]:
        return {row.outcome for row in self.rows(key)}


def migrated(text: str, file: str = "sample.yaml") -> Migrated:
    """Migrate a text."""
    return Migrated(AgentFrameworkMigrator().migrate(MemorySource(read_text(text, file))))


class Stage(MigratedStage):
    """A runtime with what a text became; functions of Power Fx need none here."""

    kinds = ("agent", "workflow")

    def function_of(self, tool: str) -> Callable[..., Any]:
        found = self.functions.get(tool)
        return found or getattr(powerfx_functions, tool.removeprefix("powerfx-").replace("-", "_"))

    async def start(self, text: str, input: Any = None) -> RunHandle:
        """Migrate, apply, start the workflow. Agents that the text does not define are made."""
        result = migrated(text).result
        runtime = await self.open()
        made = {one["metadata"]["name"] for one in result.resources}
        needed = {
            step["agent"]
            for one in result.resources
            if one["kind"] == "Workflow"
            for step in one["spec"]["steps"]
            if "agent" in step
        }
        agents = [
            {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": name}, "spec": {"model": "fake/m"}}
            for name in sorted(needed - made)
        ]
        for manifest in [*agents, *result.resources]:
            applied = await runtime.apply_resource(manifest, wait=False)
            if manifest["kind"] == "Tool":
                ready = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}
                await runtime.client.update_status(applied.resource, {"conditions": [ready]})
        name = next(one["metadata"]["name"] for one in result.resources if one["kind"] == "Workflow")
        return await runtime.start_run(f"workflows/{name}", input, require_ready=False)

    async def output(self, text: str, input: Any = None) -> Any:
        status = await (await self.start(text, input)).status()
        assert status["phase"] == "Succeeded", status
        return status.get("output")

    async def aclose(self) -> None:
        if self.runtime is not None:
            await self.runtime.aclose()
        await self.store.aclose()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.aclose()


@pytest.fixture(name="migrated")
def _migrated() -> Callable[..., Migrated]:
    return migrated
