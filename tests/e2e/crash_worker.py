"""The agents and the runner whose processes ``test_crash.py`` kills; see ``crash_process`` for how."""

from __future__ import annotations

import asyncio
import importlib
import sys
import types
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from crash_process import World, note, serve_world
from kastra_core import ResourceKind, hookimpl
from kastra_core.api.meta import Resource
from kastra_core.errors import OperationError
from kastra_core.protocols.model import (
    ChatCompleted,
    ChatEvent,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    Message,
    ModelCheck,
    ModelSettings,
    TextPart,
    ToolCallPart,
    Usage,
)
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_plugin_tool import ToolContext

API = "mastra.ai/v1"

# ---------------------------------------------------------------------------------------------- the world


async def quick(number: int, context: ToolContext) -> int:
    """Double a number."""
    note("quick", context.idempotency_key)
    return number * 2


async def slow(number: int, context: ToolContext) -> int:
    """Double a number, slowly."""
    note("slow", context.idempotency_key)
    await asyncio.sleep(0.03)
    return number * 2


def lookup(word: str, context: ToolContext) -> dict[str, str]:
    """Look a word up."""
    note("lookup", context.idempotency_key)
    return {"word": word, "meaning": f"what {word} means"}


class Script:
    """A model whose answer follows from what it was asked alone."""

    def check(self, model: str, settings: ModelSettings) -> ModelCheck:
        return ModelCheck(ok=True)

    async def chat(self, request: ChatRequest) -> ChatResponse:
        note("chat", request.idempotency_key)
        turns = sum(1 for message in request.messages if message.role == "assistant")
        parts = _answer(request.messages[0].text, turns)
        calls = any(isinstance(part, ToolCallPart) for part in parts)
        return ChatResponse(
            message=Message("assistant", tuple(parts)),
            finish_reason="tool_calls" if calls else "stop",
            usage=Usage(input_tokens=10 + turns, output_tokens=3, cost=0.5),
            model="m",
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield ChatCompleted(await self.chat(request))

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        raise NotImplementedError

    async def aclose(self) -> None:
        return None


def _answer(who: str, turns: int) -> Sequence[TextPart | ToolCallPart]:
    if who == "helper":
        return [ToolCallPart("h1", "quick", {"number": 7})] if turns == 0 else [TextPart("14, says the helper")]
    parallel = [
        ToolCallPart("c1", "quick", {"number": 1}),
        ToolCallPart("c2", "slow", {"number": 2}),
        ToolCallPart("c3", "quick", {"number": 3}),
    ]
    if who == "chief":
        parallel[0] = ToolCallPart("c1", "helper", {"input": "seven, please"})
    script: list[Sequence[TextPart | ToolCallPart]] = [
        parallel,
        [ToolCallPart("c4", "lookup", {"word": "crash"})],
        [TextPart("no JSON")],
        [TextPart('{"sum": 12}')],
    ]
    return script[turns]


class Program:
    """Runner of the test's own kind: the input says what it does."""

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        before = await ctx.perform("note", {"name": "before"})
        if input == "sleep":
            await ctx.sleep(0.3)
            got: Any = None
        elif input == "signal":
            got = await ctx.wait_signal("go")
        elif input == "pay":
            try:
                got = await ctx.perform("note", {"name": "pay"}, at_most_once=True)
            except OperationError as error:
                got = error.reason
        else:
            got = await ctx.perform("note", {"name": "long", "wait_s": 1.0})
        after = await ctx.perform("note", {"name": "after"})
        await ctx.remember([{"role": "user", "parts": []}])
        return [before, got, after]


async def note_operation(ctx: OperationContext, arguments: dict[str, Any]) -> Any:
    note(arguments["name"], ctx.idempotency_key)
    await asyncio.sleep(arguments.get("wait_s", 0.0))
    return arguments["name"]


def plugin() -> types.ModuleType:
    module = types.ModuleType("crash_plugin")

    @hookimpl
    def kastra_model_providers() -> list[ModelProviderRegistration]:
        return [ModelProviderRegistration(name="script", providers=("script",), factory=lambda _: Script())]

    @hookimpl
    def kastra_resource_kinds() -> list[ResourceKind]:
        return [ResourceKind(kind="Program", plural="programs", runner=Program)]

    @hookimpl
    def kastra_operations() -> list[OperationRegistration]:
        return [OperationRegistration(name="note", handler=note_operation, counts_as="tool")]

    for hook in (kastra_model_providers, kastra_resource_kinds, kastra_operations):
        setattr(module, hook.__name__, hook)
    return module


def _agent(name: str, tools: list[Any], **spec: Any) -> dict[str, Any]:
    model = {"provider": "script", "name": "m"}
    spec = {"instructions": name, "model": model, "tools": tools, **spec}
    return {"apiVersion": API, "kind": "Agent", "metadata": {"name": name}, "spec": spec}


def manifests() -> list[dict[str, Any]]:
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    output = {"schema": schema, "maxRepairs": 1}
    tools = [
        {
            "apiVersion": API,
            "kind": "Tool",
            "metadata": {"name": name},
            "spec": {"type": "python", "python": {"function": f"crash_worker:{name}"}},
        }
        for name in ("quick", "slow", "lookup")
    ]
    return [
        *tools,
        _agent("solo", ["quick", "slow", "lookup"], output=output),
        _agent("helper", ["quick"]),
        _agent("chief", ["quick", "slow", "lookup", "agents/helper"], output=output),
        {"apiVersion": API, "kind": "Program", "metadata": {"name": "program"}, "spec": {}},
    ]


WORLD = World(
    plugins=("agent", "libsql", "tool"),
    plugin=plugin,
    modules=("crash_worker",),
    manifests=manifests,
    imports=("kastra_core.execution.operations", "kastra_plugin_agent.runner", "kastra_plugin_libsql.store"),
)


def main() -> None:
    serve_world(WORLD)


if __name__ == "__main__":
    # Tools name this module: it must be the same one.
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("crash_worker").main()
