"""A runtime with scripted models and tools, for the tests of kind Agent."""

from __future__ import annotations

import re
import types
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from kastra_core import PluginManager, ResourceKind, Runtime, RuntimeManager, hookimpl
from kastra_core.config import Config
from kastra_core.protocols.model import EmbeddingRequest, EmbeddingResponse, Usage
from kastra_core.protocols.runner import OperationContext
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_core.testing.fakes import Answer, FakeModelProvider

ToolBody = Callable[[OperationContext, dict[str, Any]], Awaitable[Any]]


WORDS = 96
"""Length of the vectors of :class:`WordsProvider`."""


class WordsProvider(FakeModelProvider):
    """Vectors that count words: texts with words in common are near."""

    failure: BaseException | None = None
    before: Callable[[], Awaitable[Any]] | None = None
    """Awaited before each answer."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        self.embedding_requests.append(request)
        if self.before is not None:
            await self.before()
        if self.failure is not None:
            raise self.failure
        vectors = []
        for text in request.texts:
            vector = [0.0] * WORDS
            for word in re.findall(r"\w+", text.lower()):
                vector[zlib.crc32(word.encode()) % WORDS] += 1.0
            vectors.append(vector)
        words = sum(len(text.split()) for text in request.texts)
        return EmbeddingResponse(vectors=vectors, usage=Usage(input_tokens=words), model=request.model)


class Stage:
    """A scripted model ``fake/m``, embeddings ``words/bag`` and the tools of a test."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.model = FakeModelProvider(default="hi")
        self.words = WordsProvider()
        self.tools: dict[str, ToolBody] = {}
        self.more: list[tuple[str, str]] = []
        """Further plugins."""
        self.runtimes: list[RuntimeManager] = []

    def script(self, *answers: Answer) -> None:
        self.model.answers = list(answers)
        self.model._used = 0
        self.model.requests.clear()

    def plugin(self) -> types.ModuleType:
        module = types.ModuleType("agent_test_plugin")

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            return [
                self.model.registration("fake", keyless=False),
                self.words.registration("words", name="words", keyless=False),
            ]

        @hookimpl
        def kastra_resource_kinds() -> list[ResourceKind]:
            return [ResourceKind(kind="Tool", plural="tools", pinned_status=("inputSchema", "description"))]

        @hookimpl
        def kastra_operations() -> list[OperationRegistration]:
            async def invoke(ctx: OperationContext, arguments: dict[str, Any]) -> Any:
                return {"output": await self.tools[arguments["tool"]["name"]](ctx, arguments["arguments"])}

            return [OperationRegistration(name="tool.invoke", handler=invoke, counts_as="tool")]

        for hook in (kastra_model_providers, kastra_resource_kinds, kastra_operations):
            setattr(module, hook.__name__, hook)
        return module

    async def runtime(self, url: str = "memory:", **changes: Any) -> RuntimeManager:
        plugins = PluginManager(
            discover=False,
            extra=[
                ("agent", "kastra_plugin_agent.hooks"),
                ("libsql", "kastra_plugin_libsql.hooks"),
                ("test", self.plugin()),
                *self.more,
            ],
        )
        config = attrs.evolve(Config.load(self.tmp_path, env={}), **changes)
        runtime = await Runtime.open(url, config=config, plugins=plugins)
        self.runtimes.append(runtime)
        return runtime

    async def tool(self, runtime: RuntimeManager, name: str, body: ToolBody, **spec: Any) -> None:
        """A tool that is Ready."""
        self.tools[name] = body
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "Tool", "metadata": {"name": name}, "spec": spec}
        applied = await runtime.apply_resource(manifest, wait=False)
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}
        await runtime.client.update_status(applied.resource, {"conditions": [ready]})

    async def agent(self, runtime: RuntimeManager, name: str = "a", **spec: Any) -> Any:
        body = {"instructions": "Be brief.", "model": "fake/m", **spec}
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": name}, "spec": body}
        await runtime.apply_resource(manifest)
        return runtime.get_agent(name)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for runtime in made.runtimes:
        await runtime.aclose()
