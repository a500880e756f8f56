"""CPU of a whole agent run, journaled in a database file, beside the plugin alone and bare aiohttp.

    python tests/benchmarks/bench_agent_run.py

The server answers at once and is a process of its own; only this process's CPU counts (all threads). Rounds alternate
and the best of each kind is compared, because other work on the machine only ever adds time. Goals: the plugin alone
at most 2x bare aiohttp, a run at most 5x, 1,000 runs/s at 64 at once.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import attrs
import orjson
import pytest

from kastra_core import PluginManager, Runtime
from kastra_core.config import Config, ProviderSettings
from kastra_core.protocols.model import ChatRequest, Message, ModelSettings
from kastra_plugin_openai.provider import OpenAIProvider

Call = Callable[[], Awaitable[object]]
PROMPT = "Hello there, how are you?"
AGENT = {
    "apiVersion": "mastra.ai/v1",
    "kind": "Agent",
    "metadata": {"name": "a"},
    "spec": {"instructions": "Be brief.", "model": {"provider": "openai", "name": "m"}},
}


async def round_of(call: Call, calls: int, at_once: int) -> tuple[float, float]:
    """(CPU milliseconds a call, calls per second)."""

    async def worker() -> None:
        for _ in range(calls // at_once):
            await call()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    done = calls // at_once * at_once
    return (time.process_time() - cpu) * 1000 / done, done / (time.perf_counter() - wall)


async def measure(base_url: str, place: Path, *, calls: int, rounds: int) -> None:
    settings = ModelSettings(api_base=base_url, api_key="sk-test")
    provider = OpenAIProvider("openai")
    sections = {"openai": ProviderSettings(api_base=base_url)}
    config = attrs.evolve(Config.load(place, env={}), providers=sections)
    runtime = await Runtime.open(f"file:{place / 'bench.db'}", config=config, plugins=PluginManager())
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": "Bearer sk-test"}) as session:

        async def bare() -> object:
            body = {
                "model": "m",
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
            }
            async with session.post(base_url + "/chat/completions", data=orjson.dumps(body)) as answer:
                return orjson.loads(await answer.read())

        async def plugin() -> object:
            messages = [Message.system("Be brief."), Message.user(PROMPT)]
            return await provider.chat(ChatRequest(model="m", messages=messages, settings=settings))

        await runtime.apply([AGENT])
        agent = runtime.get_agent("a")

        async def run() -> object:
            return await agent.generate(PROMPT)

        kinds: dict[str, Call] = {"bare aiohttp": bare, "plugin alone": plugin, "agent run, journaled": run}
        for at_once in (1, 64):
            for call in kinds.values():
                await round_of(call, 2 * at_once, at_once)
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
            for _ in range(rounds):
                for name, call in kinds.items():
                    found[name].append(await round_of(call, calls, at_once))
            base = min(cpu for cpu, _ in found["bare aiohttp"])
            for name, results in found.items():
                cpu, rate = min(c for c, _ in results), max(r for _, r in results)
                print(f"{at_once:3d} at once  {name:22s} {cpu:6.3f} ms CPU  {cpu / base:5.2f}x  {rate:7.0f} calls/s")
    await provider.aclose()
    await runtime.aclose()


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1280
    mock = Path(__file__).parents[1] / "mock_openai.py"
    server = subprocess.Popen([sys.executable, str(mock), "--port", "0"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        base_url = json.loads(server.stdout.readline())["base_url"]
        with tempfile.TemporaryDirectory() as place:
            asyncio.run(measure(base_url, Path(place), calls=calls, rounds=5))
    finally:
        server.terminate()
        server.wait()


@pytest.mark.benchmark
def test_cpu_of_an_agent_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_agent_run.py", "320"])
    main()


if __name__ == "__main__":
    main()
