"""A runtime with scripted routers, agents and tools, for the tests of kind Network."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from kastra_core import PluginManager, ResourceKind, Runtime, RuntimeManager, hookimpl
from kastra_core.config import Config
from kastra_core.protocols.model import ChatRequest
from kastra_core.protocols.runner import OperationContext
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_core.testing.fakes import Answer, FakeModelProvider

ToolBody = Callable[[OperationContext, dict[str, Any]], Awaitable[Any]]

PLUGINS = ("agent", "network", "workflow")


class Stage:
    """Models ``fake/router`` (see :meth:`script`) and ``fake/<name>``, which answers for the agent ``<name>``."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.choices: list[Answer] = []
        self.answers: dict[str, Answer] = {}
        """Name of an agent -> what it answers; default: "NAME: what it was asked"."""
        self.model = FakeModelProvider(default=self._answer)
        self.keyless = FakeModelProvider(default=self._answer)
        """Of the provider ``small``, which needs no account and makes embeddings."""
        self.tools: dict[str, ToolBody] = {}
        self.operations: list[OperationRegistration] = []
        self.embeddings = ""
        self.runtimes: list[RuntimeManager] = []
        self.runtime: RuntimeManager

    def script(self, *choices: Answer) -> None:
        """What the router's model answers, in turn; the last one again and again."""
        self.choices = list(choices)

    def _answer(self, request: ChatRequest) -> Any:
        if request.response_schema is not None:
            return self.choices.pop(0) if len(self.choices) > 1 else self.choices[0]
        answer = self.answers.get(request.model)
        if answer is None:
            return f"{request.model}: {request.messages[-1].text}"
        if callable(answer) and not isinstance(answer, BaseException):
            return answer(request)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def routed(self) -> list[ChatRequest]:
        """Requests to the router's model."""
        every = [*self.model.requests, *self.keyless.requests]
        return [request for request in every if request.response_schema is not None]

    def asked(self, agent: str) -> list[ChatRequest]:
        """Requests to the model of an agent."""
        return [request for request in self.model.requests if request.model == agent]

    def plugin(self) -> types.ModuleType:
        module = types.ModuleType("network_test_plugin")

        @hookimpl
        def kastra_model_providers() -> list[ModelProviderRegistration]:
            small = attrs.evolve(self.keyless.registration("small", name="small"), embeddings=self.embeddings)
            return [self.model.registration("fake", "openai", keyless=False), *([small] if self.embeddings else [])]

        @hookimpl
        def kastra_resource_kinds() -> list[ResourceKind]:
            tool = ResourceKind(kind="Tool", plural="tools", pinned_status=("inputSchema", "description"))
            return [tool, ResourceKind(kind="Rock", plural="rocks")]

        @hookimpl
        def kastra_operations() -> list[OperationRegistration]:
            async def invoke(ctx: OperationContext, arguments: dict[str, Any]) -> Any:
                given = arguments["arguments"] if "arguments" in arguments else arguments["input"]
                return {"output": await self.tools[arguments["tool"]["name"]](ctx, given)}

            return [OperationRegistration(name="tool.invoke", handler=invoke, counts_as="tool"), *self.operations]

        for hook in (kastra_model_providers, kastra_resource_kinds, kastra_operations):
            setattr(module, hook.__name__, hook)
        return module

    async def open(self, **changes: Any) -> RuntimeManager:
        """A runtime on a store in memory; ``changes`` are fields of its configuration."""
        extra: list[tuple[str, Any]] = [(name, f"kastra_plugin_{name}.hooks") for name in PLUGINS]
        plugins = PluginManager(discover=False, extra=[*extra, ("test", self.plugin())])
        config = attrs.evolve(Config.load(self.tmp_path, env={}), **changes)
        self.runtime = await Runtime.open("memory:", config=config, plugins=plugins)
        self.runtimes.append(self.runtime)
        return self.runtime

    async def apply(self, kind: str, name: str, spec: dict[str, Any], namespace: str = "default") -> Any:
        meta = {"name": name, "namespace": namespace}
        manifest = {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": meta, "spec": spec}
        return (await self.runtime.apply_resource(manifest)).resource

    async def agents(self, *names: str, **spec: Any) -> None:
        for name in names:
            await self.apply("Agent", name, {"model": f"fake/{name}", "description": f"Knows {name}.", **spec})

    async def tool(self, name: str, body: ToolBody, **spec: Any) -> None:
        """A tool that is Ready."""
        self.tools[name] = body
        manifest = {"apiVersion": "mastra.ai/v1", "kind": "Tool", "metadata": {"name": name}, "spec": spec}
        applied = await self.runtime.apply_resource(manifest, wait=False)
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}
        await self.runtime.client.update_status(applied.resource, {"conditions": [ready]})

    async def network(self, name: str = "net", router: dict[str, Any] | None = None, **spec: Any) -> Any:
        """A network routed by the scripted model; its members default to the agents a, b and c."""
        if not spec.keys() & {"agents", "workflows", "tools", "networks"}:
            await self.agents("a", "b", "c")
            spec["agents"] = ["a", "b", "c"]
        await self.apply("Network", name, {"router": {"model": "fake/router", **(router or {})}, **spec})
        return self.runtime.get_network(name)

    async def status(self, network: Any, input: Any = "go", **options: Any) -> dict[str, Any]:
        """Run it and return the Run's status, however it ended."""
        run = await self.runtime.start_run(network.reference, input, **options)
        found: dict[str, Any] = await run.status()
        return found

    async def events(self, network: Any, input: Any = "go", **options: Any) -> list[dict[str, Any]]:
        """Run it and return its own events."""
        seen: list[dict[str, Any]] = []
        run = await self.runtime.start_run(network.reference, input, listener=seen.append, **options)
        await run.status()
        return [event for event in seen if event["type"] not in ("child", "started", "finished")]


def route(agent: str | None, input: str = "", *, done: bool = False, reason: str = "because") -> str:
    """A choice as a model writes it."""
    return orjson.dumps({"reason": reason, "agent": agent, "input": input, "done": done}).decode()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for runtime in made.runtimes:
        await runtime.aclose()


@pytest.fixture(name="route")
def route_fixture() -> Callable[..., str]:
    return route
