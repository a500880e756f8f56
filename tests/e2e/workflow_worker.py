"""The workflows whose processes the tests kill, and what they act upon; see ``crash_process`` for how they are killed.

The workflows stand in ``workflow_cases.yaml``. They use every form of control flow, and end the same way however fast
or slow a process is: what is to run into a timeout waits for ever, what has to be there first is waited for.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import types
from pathlib import Path
from typing import Any

import yaml

import crash_worker
from crash_process import World, note, noted, serve_world
from crash_worker import Script
from kastra_core import hookimpl
from kastra_core.errors import OperationError
from kastra_core.protocols.model import (
    ChatRequest,
    ChatResponse,
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from kastra_core.protocols.runner import OperationContext
from kastra_core.registrations import ModelProviderRegistration, OperationRegistration
from kastra_plugin_tool import ToolContext

CASES = Path(__file__).with_name("workflow_cases.yaml")
ANSWERS = {
    "approve": {"approved": True},
    "approve-too": {"approved": False},
    "approve-each": {"fine": 7},
    "come": {"from": "outside"},
    "hold": {"held": True},
}
EARLY = {"early": {"came": "first"}}


async def act(ctx: OperationContext, arguments: dict[str, Any]) -> Any:
    """Do what a test wants done.

    Arguments: ``name`` of what is done; ``value``: the result (default: the name); ``after``: wait until these were
    begun; ``wait``: seconds; ``forever``: never end; ``fails``: fail the first times (a repetition with the same key is
    the same time), for ``reason``.
    """
    name = arguments["name"]
    note(name, ctx.idempotency_key)
    while not all(noted(other) for other in arguments.get("after", ())):
        await asyncio.sleep(0.005)
    await asyncio.sleep(arguments.get("wait", 0.0))
    if arguments.get("forever"):
        await asyncio.Event().wait()
    times = noted(name).index(ctx.idempotency_key)
    if times < arguments.get("fails", 0):
        raise OperationError(f"{name} is not in the mood", reason=arguments.get("reason", "Moody"))
    return arguments.get("value", name)


async def stuck(number: int, context: ToolContext) -> int:
    """Never end."""
    note("stuck", context.idempotency_key)
    await asyncio.Event().wait()
    return number


async def old(number: int, context: ToolContext) -> str:
    """Tell the number as it was told before."""
    note("old", context.idempotency_key)
    return f"old {number}"


async def new(number: int, context: ToolContext) -> str:
    """Tell the number as it is told now."""
    note("new", context.idempotency_key)
    return f"new {number}"


class Voice(Script):
    """The scripted model; one whose instructions begin with "say" calls its tools once and tells who it is."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        who = request.messages[0].text
        if not who.startswith("say"):
            return await super().chat(request)
        note("chat", request.idempotency_key)
        results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResultPart)]
        parts: list[TextPart | ToolCallPart]
        if request.tools and not results:
            parts = [ToolCallPart(f"c{n}", tool.name, {"number": 7}) for n, tool in enumerate(request.tools)]
        else:
            found = ", ".join(str(part.response) for part in results)
            parts = [TextPart(f"{who}: {request.messages[1].text} [{found}]")]
        return ChatResponse(
            message=Message("assistant", tuple(parts)),
            finish_reason="stop" if isinstance(parts[0], TextPart) else "tool_calls",
            usage=Usage(input_tokens=10, output_tokens=3, cost=0.5),
            model="m",
        )


def plugin() -> types.ModuleType:
    module = types.ModuleType("workflow_crash_plugin")

    @hookimpl
    def kastra_model_providers() -> list[ModelProviderRegistration]:
        return [ModelProviderRegistration(name="script", providers=("script",), factory=lambda _: Voice())]

    @hookimpl
    def kastra_operations() -> list[OperationRegistration]:
        return [OperationRegistration(name="act", handler=act, counts_as="tool")]

    for hook in (kastra_model_providers, kastra_operations):
        setattr(module, hook.__name__, hook)
    return module


def cases() -> list[dict[str, Any]]:
    """The workflows that are killed."""
    return [document for document in yaml.safe_load_all(CASES.read_text(encoding="utf-8")) if document]


def manifests() -> list[dict[str, Any]]:
    agents = [manifest for manifest in crash_worker.manifests() if manifest["kind"] != "Program"]
    return [*agents, *cases()]


WORLD = World(
    plugins=("agent", "libsql", "tool", "workflow"),
    plugin=plugin,
    modules=("crash_worker", "workflow_worker"),
    manifests=manifests,
    imports=(
        "kastra_core.execution.operations",
        "kastra_plugin_agent.runner",
        "kastra_plugin_libsql.store",
        "kastra_plugin_tool.python_tool",
        "kastra_plugin_workflow.runner",
        "cel_expr_python",
    ),
    answers=ANSWERS,
    early=EARLY,
)


def main() -> None:
    serve_world(WORLD)


if __name__ == "__main__":
    # Tools name this module: it must be the same one.
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("workflow_worker").main()
