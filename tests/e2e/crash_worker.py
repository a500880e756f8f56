"""A process that executes runs on a file store and dies where it is told to; see ``test_crash.py``.

    python crash_worker.py

reads jobs from standard input, one JSON object a line, and forks a process for each, so that a process costs no
imports. It answers with JSON lines: ``{"job", "pid"}`` when it began, ``{"job", "code"}`` when it ended.
What operations do to the world is a line in a file outside the store, written in one piece (O_APPEND).
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import time
import types
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs

import kastra_core.execution.context
from fork_server import serve
from kastra_core import PluginManager, ResourceKind, Runtime, RuntimeManager, hookimpl
from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.config import Config
from kastra_core.errors import OperationError, UserError
from kastra_core.execution.runs import RunManager
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
from kastra_core.settings import PythonToolSettings, ToolSettings
from kastra_plugin_tool import ToolContext

RUN = ResourceKey(MAIN_GROUP, "Run", "default", "the-run")
API = "mastra.ai/v1"
PLACES = ["project", "store", "log"]


def note(kind: str, key: str) -> None:
    """Write down that an operation is carried out."""
    descriptor = os.open(os.environ["KASTRA_CRASH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{kind} {key}\n".encode())
    os.close(descriptor)


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


# ---------------------------------------------------------------------------------------------- one process


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Doom:
    """Ends the process at one commit: before it, after it, or while it is under way."""

    def __init__(self, store: Any, at: int, when: str) -> None:
        self._commit, self._at, self._when, self._count = store.commit, at, when, 0

    async def commit(self, operations: Sequence[Any]) -> list[Any]:
        self._count += 1
        if self._count != self._at:
            return await self._commit(operations)  # type: ignore[no-any-return]
        if self._when == "before":
            die()
        if self._when == "amid":
            task = asyncio.ensure_future(self._commit(operations))
            for _ in range(4):
                await asyncio.sleep(0)
            die()
            await task
        results = await self._commit(operations)
        if self._when == "after":
            die()
        return results  # type: ignore[no-any-return]


async def open_runtime(job: dict[str, Any]) -> RuntimeManager:
    hooks = {name: f"kastra_plugin_{name}.hooks" for name in ("agent", "libsql", "tool")}
    plugins = PluginManager(discover=False, extra=[*hooks.items(), ("crash", plugin())])
    config = attrs.evolve(
        Config.load(Path(job["project"]), env={}),
        project=Path(__file__).parent,
        tools=ToolSettings(python=PythonToolSettings(allow=("crash_worker",))),
    )
    runtime = await Runtime.open(job["store"], config=config, plugins=plugins, controllers=False)
    ttl_s = job.get("lease_ttl_s")
    if ttl_s is not None:
        runtime.runs = RunManager(runtime, lease_ttl_s=ttl_s)
    return runtime


async def work(job: dict[str, Any]) -> None:
    """prepare: apply the manifests. run: start the run unless it is there, and wait for its end. serve: take over
    what there is until the run is over. start: only start it. signal, cancel: do that as one who executes nothing."""
    kastra_core.execution.context.IN_MEMORY_WAIT_S = 0.05
    runtime = await open_runtime(job)
    doing = job["do"]
    if doom := job.get("doom"):
        runtime.store.commit = Doom(runtime.store, *doom).commit  # type: ignore[method-assign]
    try:
        if doing == "prepare":
            report = await runtime.apply(manifests())
            assert not report.not_ready, report.not_ready
        elif doing == "signal":
            await runtime.runs.signal(RUN, "go", job.get("payload"), signal_id=job.get("signal_id", ""))
        elif doing == "cancel":
            await runtime.runs.cancel(RUN)
        elif doing == "wait":
            await runtime.runs.wait(RUN)
        else:
            await runtime.runs.start()
            if doing != "serve" and await runtime.client.get(RUN) is None:
                await runtime.start_run(job["target"], job["input"], name=RUN.name, thread="t")
            if doing == "start":
                await asyncio.sleep(job.get("wait_s", 60.0))
            while True:
                await runtime.runs.wait(RUN)
                await runtime.runs.drain()
                if not await runtime.store.journal.claims():
                    break
                await asyncio.sleep(0.01)
    except UserError as error:
        print(f"{doing}: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    finally:
        await runtime.aclose()


def _child(job: dict[str, Any]) -> None:
    code = 1
    try:
        os.environ["KASTRA_CRASH_LOG"] = job["log"]
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=f"{os.getpid()} %(message)s")
        asyncio.run(asyncio.wait_for(work(job), job.get("within_s", 30.0)))
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        logging.exception("job %s", job)
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    serve(_child, ("kastra_core.execution.operations", "kastra_plugin_agent.runner", "kastra_plugin_libsql.store"))


if __name__ == "__main__":
    # Tools name this module: it must be the same one.
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module("crash_worker").main()
