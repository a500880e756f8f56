"""The networks, agents and workflows whose processes ``test_network_crash.py`` kills; see ``crash_process`` for how."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import math
import re
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from crash_process import World, note, serve_world
from kastra_core import ResourceKind, hookimpl
from kastra_core.api.meta import Resource
from kastra_core.api.references import Reference
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
    ToolResultPart,
    Usage,
)
from kastra_core.protocols.runner import OperationContext, RunContext
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_plugin_tool import ToolContext

API = "mastra.ai/v1"
MODEL = {"provider": "script", "name": "m"}
SIZE = 128
"""Numbers of an embedding."""
TTL_S = 600
ORDERS: Mapping[str, Sequence[str]] = {
    "main": ("billing", "tech", "sales", "report", "desk", "stamp"),
    "desk": ("clerk",),
    "mixed": ("tech",),
    "slowly": ("sloth",),
    "crowd": ("keeper", "inner"),
    "inner": ("inmate",),
}
"""Network -> the members that its router calls, in order."""


# ---------------------------------------------------------------------------------------------- the world


async def charge(number: int, context: ToolContext) -> int:
    """Charge a number of coins."""
    note("charge", context.idempotency_key)
    return number * 2


async def slow(number: int, context: ToolContext) -> int:
    """Double a number, slowly."""
    note("slow", context.idempotency_key)
    await asyncio.sleep(1.0)
    return number * 2


async def stamp(text: str, context: ToolContext) -> str:
    """Stamp a text."""
    note("stamp", context.idempotency_key)
    return f"<stamp-done> {text}"


async def act(ctx: OperationContext, arguments: dict[str, Any]) -> Any:
    """Give ``value`` back."""
    note("act", ctx.idempotency_key)
    return arguments.get("value")


def vector_of(text: str) -> list[float]:
    """A unit vector of the words of a text: each word adds to one place."""
    found = [0.0] * SIZE
    for word in re.findall(r"\w+", text.lower()):
        found[int(hashlib.sha256(word.encode()).hexdigest(), 16) % SIZE] += 1.0
    length = math.sqrt(sum(x * x for x in found)) or 1.0
    return [x / length for x in found]


class Script:
    """A model whose answer follows from what it was asked alone, whatever was asked before."""

    def check(self, model: str, settings: ModelSettings) -> ModelCheck:
        return ModelCheck(ok=True)

    async def chat(self, request: ChatRequest) -> ChatResponse:
        note("chat", request.idempotency_key)
        parts = answer(request)
        calls = any(isinstance(part, ToolCallPart) for part in parts)
        return ChatResponse(
            message=Message("assistant", tuple(parts)),
            finish_reason="tool_calls" if calls else "stop",
            usage=Usage(input_tokens=10 + len(request.messages), output_tokens=3, cost=0.5),
            model="m",
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        yield ChatCompleted(await self.chat(request))

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        return EmbeddingResponse(
            vectors=[vector_of(text) for text in request.texts],
            usage=Usage(input_tokens=len(request.texts), output_tokens=0, cost=0.25),
            model="e",
        )

    async def aclose(self) -> None:
        return None


def answer(request: ChatRequest) -> Sequence[TextPart | ToolCallPart]:
    head = request.messages[0].text
    if request.response_schema is not None:
        return [TextPart(orjson.dumps(route(head, request)).decode())]
    turn = turn_of(request.messages)
    who = re.search(r"I am (\w+)", head)
    if who is None:
        return [TextPart(f"condensed {len(request.messages)}")]
    spoken: Sequence[TextPart | ToolCallPart] = SPEAKERS[who[1]](who[1], request, turn)
    return spoken


def turn_of(messages: Sequence[Message]) -> Sequence[Message]:
    """What came after the last message of the user, that one included."""
    last = max(at for at, message in enumerate(messages) if message.role == "user")
    return messages[last:]


def route(head: str, request: ChatRequest) -> dict[str, Any]:
    """The first member that has not answered yet; done when there is none."""
    network = re.search(r"network (\w+)", head)
    assert network is not None, head
    told = request.messages[-1].text.rpartition("Request:\n")[2]
    for name in ORDERS[network[1].rstrip("0123456789")]:
        last = ORDERS[name][-1] if name in ORDERS else name
        if f"<{last}-done>" not in told:
            asked = '{"text": "for stamp"}' if name == "stamp" else f"for {name}: {asked_of(told)}"
            done = name in ("clerk", "inner", "inmate")
            return {"agent": name, "input": asked, "reason": f"{name} is next", "done": done}
    return {"agent": None, "input": "", "reason": "all have answered", "done": True}


def asked_of(told: str) -> str:
    found = re.search(r"number-\d+", told)
    return found[0] if found else "hello"


def results_of(turn: Sequence[Message]) -> list[Any]:
    return [part.response for message in turn for part in message.parts if isinstance(part, ToolResultPart)]


def worker(who: str, request: ChatRequest, turn: Sequence[Message]) -> Sequence[TextPart | ToolCallPart]:
    """Charge and look at the state, append to its log, answer."""
    results = results_of(turn)
    if not results:
        tool = "slow" if who == "sloth" else "charge"
        return [ToolCallPart("c1", tool, {"number": len(who)}), ToolCallPart("c2", "state_get", {})]
    if len(results) == 2:
        log = results[1].get("log", "")
        values = {"log": f"{log}{who} ", f"by-{who}": {"coins": results[0], "asked": turn[0].text}}
        return [ToolCallPart("c3", "state_set", {"values": values})]
    return [TextPart(f"<{who}-done> log was {results[1].get('log', '')!r}")]


def keeper(who: str, request: ChatRequest, turn: Sequence[Message]) -> Sequence[TextPart | ToolCallPart]:
    """Write what it is asked to the state, and read the state back."""
    asked, results = asked_of(turn[0].text), results_of(turn)
    if not results:
        return [ToolCallPart("c1", "state_set", {"values": {"mine": asked, asked: True}})]
    if len(results) == 1:
        return [ToolCallPart("c2", "state_get", {})]
    return [TextPart(f"<{who}-done> " + orjson.dumps(results[1]).decode())]


def friend(who: str, request: ChatRequest, turn: Sequence[Message]) -> Sequence[TextPart | ToolCallPart]:
    """Keep the last word of what it was told in its working memory; tell how much it was shown."""
    said = turn[0].text
    if not results_of(turn):
        return [ToolCallPart("c1", "working_memory_update", {"values": {said.split()[-1]: said}})]
    # Not the day on which something was said.
    told = re.sub(r"\[\d{4}-\d\d-\d\d\]", "", repr([message.to_json() for message in request.messages]))
    marks = [mark for mark in ("recalled", "conversation_summary", "working_memory") if f"<{mark}>" in told]
    shown = hashlib.sha256(told.encode()).hexdigest()[:8]
    return [TextPart(f"heard {said}; shown {len(request.messages)}, {' '.join(marks)}, {shown}")]


SPEAKERS: Mapping[str, Any] = {
    **dict.fromkeys(("billing", "tech", "sales", "clerk", "sloth"), worker),
    **dict.fromkeys(("keeper", "inmate"), keeper),
    "friend": friend,
}


class Crowd:
    """Runner of the test's own kind: calls networks, all at once. Input: [[network, what it is asked, thread], ...]."""

    async def run(self, ctx: RunContext, target: Resource, input: Any) -> Any:
        def branch(network: str, asked: str, thread: str | None) -> Callable[[RunContext], Awaitable[Any]]:
            reference = Reference(kind="Network", namespace="default", name=network)
            return lambda inner: inner.call(reference, asked, thread=thread)

        found = await ctx.gather({str(at): branch(*call) for at, call in enumerate(input)})
        for outcome in found.values():
            if isinstance(outcome, BaseException):
                raise outcome
        return list(found.values())


def plugin() -> types.ModuleType:
    module = types.ModuleType("network_crash_plugin")

    @hookimpl
    def kastra_model_providers() -> list[ModelProviderRegistration]:
        return [ModelProviderRegistration(name="script", providers=("script",), factory=lambda _: Script())]

    @hookimpl
    def kastra_operations() -> list[OperationRegistration]:
        return [OperationRegistration(name="act", handler=act, counts_as="tool")]

    @hookimpl
    def kastra_resource_kinds() -> list[ResourceKind]:
        return [ResourceKind(kind="Crowd", plural="crowds", runner=Crowd)]

    for hook in (kastra_model_providers, kastra_operations, kastra_resource_kinds):
        setattr(module, hook.__name__, hook)
    return module


# ---------------------------------------------------------------------------------------------- manifests


def _manifest(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _agent(name: str, **spec: Any) -> dict[str, Any]:
    return _manifest("Agent", name, instructions=f"I am {name}.", model=MODEL, memory={"enabled": False}, **spec)


def _network(name: str, *, router: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return _manifest("Network", name, instructions=f"This is network {name}.", router=dict(router), **spec)


def crowd(number: int) -> dict[str, Any]:
    """A network that keeps what it is asked in its state, and in that of a network within it."""
    return _network(
        f"crowd{number}",
        agents=["keeper"],
        networks=["inner"],
        router={"type": "model", "model": MODEL},
        state={"ttl": TTL_S} if number % 2 else True,
    )


def _append(who: str) -> dict[str, Any]:
    log = "{{ (has(state.log) ? state.log : '') + '" + who + " ' }}"
    return {"values": {"log": log, f"by-{who}": {"asked": "{{ workflow.input }}"}}}


def manifests() -> list[dict[str, Any]]:
    tools = [
        _manifest("Tool", name, type="python", python={"function": f"network_worker:{name}"})
        for name in ("charge", "slow", "stamp")
    ]
    chooses = {"type": "model", "model": MODEL}
    near = {"embeddings": "script/e"}
    kept = {"enabled": True, "maxMessages": 8, "workingMemory": {"enabled": True, "scope": "thread"}}
    return [
        *tools,
        _agent("billing", tools=["charge"], description="Invoices, coins and payment."),
        _agent("tech", tools=["charge"], description="Broken machines and repair."),
        _agent("clerk", tools=["charge"], description="Letters."),
        _agent("sales", tools=["charge"], description="Offers."),
        _agent("sloth", tools=["slow"], description="Slow work."),
        _agent("keeper", description="Keeps numbers."),
        _agent("inmate", description="Keeps numbers, too."),
        _manifest(
            "Workflow",
            "report",
            steps=[
                {"id": "charge", "tool": "charge", "input": {"number": 5}},
                {"id": "append", "operation": "state.update", "input": _append("report")},
                {"id": "act", "operation": "act", "input": {"value": "{{ state.log }}"}},
            ],
            output="<report-done> log is {{ steps.act.output }}",
        ),
        _network("desk", agents=["clerk"], router=chooses, state={"persistence": False}),
        _network(
            "main",
            agents=["billing", "tech", "sales"],
            workflows=["report"],
            tools=["stamp"],
            networks=["desk"],
            router=chooses,
            state={"persistence": True, "ttl": 3600},
        ),
        _network("slowly", agents=["sloth"], router=chooses, state={"persistence": True}),
        _network("nearest", agents=["billing", "tech"], router={"type": "embedding", **near}, state=True),
        _network(
            "mixed",
            agents=["billing", "tech"],
            router={**chooses, **near, "type": "auto", "margin": 1.9},
            state=True,
        ),
        _network("inner", agents=["inmate"], router=chooses, state={"ttl": TTL_S}),
        _manifest("Crowd", "crowd"),
        *(
            _manifest(
                "Agent",
                f"friend-{kind}",
                instructions="I am friend.",
                model=MODEL,
                memory={**kept, "type": kind, **more},
            )
            for kind, more in (
                ("vector", {"recall": {"topK": 1, "embeddings": "script/e"}}),
                ("summary", {}),
            )
        ),
    ]


WORLD = World(
    plugins=("agent", "libsql", "network", "tool", "workflow"),
    plugin=plugin,
    modules=("network_worker",),
    manifests=manifests,
    imports=(
        "kastra_core.execution.operations",
        "kastra_plugin_agent.runner",
        "kastra_plugin_libsql.store",
        "kastra_plugin_network.hooks",
        "kastra_plugin_tool.python_tool",
        "kastra_plugin_workflow.runner",
        "cel_expr_python",
    ),
)


def main() -> None:
    serve_world(WORLD)


if __name__ == "__main__":
    # Tools name this module: it must be the same one.
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("network_worker").main()
