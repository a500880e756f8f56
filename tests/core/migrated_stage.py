"""A runtime on the store in memory for what was migrated: a scripted model, and tools whose functions are here."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kastra_core import PluginManager, ResourceKind, RuntimeManager, hookimpl
from kastra_core.api.meta import JsonObject
from kastra_core.config import Config
from kastra_core.memory_store import MemoryStore
from kastra_core.protocols.runner import OperationContext
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_core.runtime import registry_of
from kastra_core.testing.fakes import FakeModelProvider

__all__ = ["MigratedStage"]


class MigratedStage:
    """Subclasses migrate something, apply it and start it.

    Attributes:
        provider: what the scripted model answers for.
        kinds: plugins of the kinds that run; Tools are carried out by :meth:`function_of`.
        functions: name of a Tool -> what it does.
        calls: (name of a Tool, arguments) of each call.
    """

    provider: ClassVar[str] = "fake"
    kinds: ClassVar[Sequence[str]] = ("agent", "workflow", "network")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = MemoryStore()
        self.model = FakeModelProvider(default="said")
        self.functions: dict[str, Callable[..., Any]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.runtime: RuntimeManager | None = None

    @property
    def called(self) -> list[str]:
        """Names of the Tools that were called, in order."""
        return [name for name, _ in self.calls]

    def function_of(self, tool: str) -> Callable[..., Any]:
        return self.functions[tool]

    async def invoke(self, ctx: OperationContext, arguments: JsonObject) -> Any:
        name, given = arguments["tool"]["name"], arguments["arguments"]
        self.calls.append((name, given))
        return {"output": self.function_of(name)(**given)}

    async def open(self) -> RuntimeManager:
        """The runtime; the same each time."""
        if self.runtime is not None:
            return self.runtime
        module = types.ModuleType("migrated_stage_plugin")

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            return [self.model.registration(self.provider, keyless=True)]

        @hookimpl
        def kastra_resource_kinds() -> list[ResourceKind]:
            return [ResourceKind(kind="Tool", plural="tools")]

        @hookimpl
        def kastra_operations() -> list[OperationRegistration]:
            return [OperationRegistration(name="tool.invoke", handler=self.invoke, counts_as="tool")]

        for hook in (kastra_model_providers, kastra_resource_kinds, kastra_operations):
            setattr(module, hook.__name__, hook)
        extra: list[tuple[str, Any]] = [(name, f"kastra_plugin_{name}.hooks") for name in self.kinds]
        plugins = PluginManager(discover=False, extra=[*extra, ("test", module)])
        config = Config.load(self.path, env={})
        self.runtime = RuntimeManager(store=self.store, config=config, plugins=plugins, registry=registry_of(plugins))
        return self.runtime
