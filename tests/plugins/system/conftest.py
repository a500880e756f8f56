"""A runtime with Systems and a scripted model, for the tests of kind System."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core import PluginManager, Runtime, RuntimeManager, hookimpl
from kastra_core.api.meta import Resource, ResourceKey, condition_of
from kastra_core.config import Config
from kastra_core.protocols.model import ModelCheck
from kastra_core.registrations import ModelProviderRegistration
from kastra_core.testing.fakes import FakeModelProvider

MODEL: dict[str, Any] = {"provider": "fake", "name": "m"}


class Stage:
    """Runtimes with the scripted model ``fake/m`` (``fake/absent`` is not there)."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.model = FakeModelProvider(default="您好")
        self.model.check = self._check  # type: ignore[method-assign]
        self.runtimes: list[RuntimeManager] = []

    @staticmethod
    def _check(model: str, settings: Any = None) -> ModelCheck:
        return ModelCheck(ok=model != "absent", reason="MissingKey", message="no key", remedy="set one")

    def plugin(self) -> types.ModuleType:
        module = types.ModuleType("system_test_plugin")

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            return [self.model.registration("fake", keyless=True)]

        module.__dict__["kastra_model_providers"] = kastra_model_providers
        return module

    def plugins(self) -> PluginManager:
        names = ("agent", "tool", "workflow", "system", "libsql")
        ours = [(name, f"kastra_plugin_{name}.hooks") for name in names]
        return PluginManager(discover=False, extra=[*ours, ("test", self.plugin())])

    async def runtime(self, url: str = "memory:", **options: Any) -> RuntimeManager:
        config = attrs.evolve(Config.load(self.tmp_path, env={}))
        runtime = await Runtime.open(url, config=config, plugins=self.plugins(), **options)
        self.runtimes.append(runtime)
        return runtime


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for runtime in made.runtimes:
        await runtime.aclose()


@pytest.fixture
async def runtime(stage: Stage) -> RuntimeManager:
    return await stage.runtime()


class Systems:
    """What the tests ask of a runtime."""

    @staticmethod
    def agent(name: str, instructions: str = "Be brief.", **spec: Any) -> dict[str, Any]:
        return {"name": name, "spec": {"instructions": instructions, "model": MODEL, **spec}}

    @staticmethod
    def flow(name: str, agent: str, **spec: Any) -> dict[str, Any]:
        return {"name": name, "spec": {"steps": [{"id": "ask", "agent": agent}], **spec}}

    @staticmethod
    def manifest(name: str = "shop", **spec: Any) -> dict[str, Any]:
        return {"apiVersion": "mastra.ai/v1", "kind": "System", "metadata": {"name": name}, "spec": spec}

    @staticmethod
    def key(kind: str, name: str) -> ResourceKey:
        return ResourceKey("mastra.ai", kind, "default", name)

    async def get(self, runtime: RuntimeManager, kind: str, name: str) -> Resource | None:
        return await runtime.client.get(self.key(kind, name))

    async def apply(self, runtime: RuntimeManager, name: str = "shop", **spec: Any) -> Resource:
        report = await runtime.apply([self.manifest(name, **spec)])
        assert report.settled
        return report.items[0].resource

    async def settled(self, runtime: RuntimeManager, name: str = "shop") -> Resource:
        """The System as it is when all controllers have come to rest."""
        assert await runtime.controllers.settled(None, 20)
        return await runtime.client.require(self.key("System", name))

    @staticmethod
    def reasons(system: Resource) -> dict[str, str]:
        return {row["name"]: row["reason"] for row in system.status["resources"]}

    @staticmethod
    def condition(system: Resource, type_: str = "Ready") -> tuple[str, str]:
        found = condition_of(system, type_)
        assert found is not None
        return found["status"], found["reason"]


@pytest.fixture
def systems() -> Systems:
    return Systems()
