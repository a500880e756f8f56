"""CPU time of one model call: the OpenAI plugin beside bare aiohttp, one call at a time and 64 at once.

    python tests/benchmarks/bench_model_call.py

The server runs in a process of its own; only the client's CPU counts. Rounds of both clients alternate, and the
best round of each is compared, because other work on the machine only ever adds time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest

from kastra_core.protocols.model import ChatRequest, Message, ModelSettings, ToolDefinition
from kastra_plugin_openai.provider import OpenAIProvider

TOOL = ToolDefinition(
    name="add", description="Add two numbers.", parameters={"type": "object", "properties": {"a": {"type": "integer"}}}
)
Call = Callable[[], Awaitable[object]]


async def cpu_ms(call: Call, calls: int, at_once: int) -> float:
    """Return the CPU milliseconds of one call, over ``calls`` of them."""

    async def worker() -> None:
        for _ in range(calls // at_once):
            await call()

    start = time.process_time()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return (time.process_time() - start) * 1000 / (calls // at_once * at_once)


async def compare(bare: Call, plugin: Call, *, calls: int, at_once: int, rounds: int) -> tuple[float, float]:
    await cpu_ms(bare, at_once * 2, at_once)
    await cpu_ms(plugin, at_once * 2, at_once)
    found = [(await cpu_ms(bare, calls, at_once), await cpu_ms(plugin, calls, at_once)) for _ in range(rounds)]
    return min(one for one, _ in found), min(other for _, other in found)


async def measure(base_url: str, *, calls: int = 640, rounds: int = 5) -> dict[str, tuple[float, float]]:
    """Return bare and plugin CPU milliseconds a call, by case."""
    text = "Hello there, how are you?"
    settings = ModelSettings(api_base=base_url, api_key="sk-test")
    tool_body = {
        "type": "function",
        "function": {"name": TOOL.name, "parameters": TOOL.parameters, "description": TOOL.description},
    }
    results = {}
    provider = OpenAIProvider("openai")
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": "Bearer sk-test"}) as session:
        for case, prompt, tools in (("chat", text, ()), ("tool", 'CALL(add:{"a":1})', (TOOL,))):

            async def bare(prompt: str = prompt, tools: tuple[ToolDefinition, ...] = tools) -> object:
                body: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
                if tools:
                    body["tools"] = [tool_body]
                async with session.post(base_url + "/chat/completions", data=orjson.dumps(body)) as answer:
                    return orjson.loads(await answer.read())

            async def plugin(prompt: str = prompt, tools: tuple[ToolDefinition, ...] = tools) -> object:
                return await provider.chat(
                    ChatRequest(model="m", messages=[Message.user(prompt)], tools=tools, settings=settings)
                )

            for at_once in (1, 64):
                results[f"{case}, {at_once} at once"] = await compare(
                    bare, plugin, calls=calls, at_once=at_once, rounds=rounds
                )

        async def bare_stream() -> object:
            body = {
                "model": "m",
                "stream": True,
                "stream_options": {"include_usage": True},
                "messages": [{"role": "user", "content": "TOKENS(20)"}],
            }
            async with session.post(base_url + "/chat/completions", data=orjson.dumps(body)) as answer:
                return [
                    orjson.loads(line[6:])
                    async for line in answer.content
                    if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]")
                ]

        async def plugin_stream() -> object:
            request = ChatRequest(model="m", messages=[Message.user("TOKENS(20)")], settings=settings)
            return [event async for event in provider.stream(request)]

        for at_once in (1, 64):
            results[f"stream of 20, {at_once} at once"] = await compare(
                bare_stream, plugin_stream, calls=calls // 2, at_once=at_once, rounds=rounds
            )
    await provider.aclose()
    return results


def run(calls: int, rounds: int) -> dict[str, tuple[float, float]]:
    mock = Path(__file__).parents[1] / "mock_openai.py"
    server = subprocess.Popen([sys.executable, str(mock), "--port", "0"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        base_url = json.loads(server.stdout.readline())["base_url"]
        return asyncio.run(measure(base_url, calls=calls, rounds=rounds))
    finally:
        server.terminate()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def report(results: dict[str, tuple[float, float]]) -> None:
    print(f"{'CPU ms a call':<24} {'aiohttp':>8} {'plugin':>8} {'ratio':>6}")
    for case, (bare, plugin) in results.items():
        print(f"{case:<24} {bare:8.3f} {plugin:8.3f} {plugin / bare:6.2f}")


@pytest.mark.benchmark
def test_a_call_costs_at_most_twice_bare_aiohttp() -> None:
    results = run(calls=320, rounds=3)
    report(results)
    assert all(plugin <= 2 * bare for bare, plugin in results.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report(run(options.calls, options.rounds))
