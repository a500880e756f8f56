"""A turn of a long conversation against one of a short one: time, CPU, rows read, tokens sent, for each type of memory.

    python tests/benchmarks/bench_memory.py [--quick] [--store memory|file] [--only TYPE] [--profile]

Threads of 20, 200 and 2,000 turns are made by real turns, then each gets a turn in turn, so that what disturbs the
machine disturbs all alike; printed are medians and their ratio to the turn of the 20-turn thread. The model server
(embeddings, too) is a process of its own and answers at once. Goals: ratio about 1, tokens within the bound.

The vectors of all threads lie in one collection. A search of one thread compares what that thread has, all of it: so
the first line of ``vector`` is that of ``--quick``, and the last one grows with the thread.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import aiohttp
import attrs
import pytest

from kastra_core import PluginManager, Runtime, RuntimeManager
from kastra_core.config import Config, ProviderSettings

MAX_TOKENS = 4000
INSTRUCTIONS = "You remember what you are told."
EMBEDDINGS = "openai/mock-embed"
MEMORIES: dict[str, dict[str, Any]] = {
    "buffer": {"type": "buffer", "maxMessages": 40},
    "summary": {"type": "summary", "maxMessages": 40, "summary": {"maxTokens": 500}},
    "vector": {"type": "vector", "maxMessages": 40, "recall": {"topK": 5, "embeddings": EMBEDDINGS}},
}
LENGTHS = (20, 200, 2000)
ROUNDS = 21
WORDS = ("tea", "river", "lamp", "stone", "garden", "paper", "winter", "bridge", "copper", "violin", "harbour")


@contextmanager
def model_server() -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    program = Path(__file__).parents[1] / "mock_openai.py"
    server = subprocess.Popen([sys.executable, str(program), "--port", "0"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["base_url"]
    finally:
        server.terminate()
        server.wait()


def question(turn: int) -> str:
    """About 60 words, another set for each turn; the answer has 40."""
    words = [WORDS[(turn * 7 + at * (turn % 5 + 1)) % len(WORDS)] for at in range(60)]
    return f"Turn {turn}: {' '.join(words)} TOKENS(40)"


def estimate(messages: list[dict[str, Any]]) -> int:
    """Tokens of messages, as memory estimates them."""
    return sum(-(-len((message.get("content") or "").encode()) // 3) + 4 for message in messages)


class Rows:
    """Counts what the store's facets hand out while it is entered."""

    METHODS: ClassVar = (("threads", "messages"), ("vectors", "query"), ("state", "get_state"))

    def __init__(self, runtime: RuntimeManager) -> None:
        self.read = 0
        self._patches: list[Any] = []
        for facet, method in self.METHODS:
            kind = type(getattr(runtime.store, facet))
            self._patches.append(mock.patch.object(kind, method, self._counted(getattr(kind, method))))

    def __enter__(self) -> Rows:
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            found = await method(*args, **options)
            self.read += len(found)
            return found

        return call


@attrs.define
class Sample:
    """A turn of a thread."""

    cpu_ms: float
    wall_ms: float
    rows: int
    tokens: int


async def turn(runtime: RuntimeManager, rows: Rows, session: Any, thread: str, number: int) -> Sample:
    agent = runtime.get_agent("keeper")
    rows.read = 0
    cpu, wall = time.process_time(), time.perf_counter()
    await agent.generate(question(number), thread=thread)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    tokens = 0
    if session is not None:
        async with session.get("/__last_chat") as answer:
            sent = await answer.json()
        # The agent's instructions and the question are no part of the memory.
        own = estimate([{"content": INSTRUCTIONS}, {"content": question(number)}])
        tokens = estimate(sent["messages"]) - own
    return Sample(cpu * 1000, wall * 1000, rows.read, tokens)


async def measure(
    base_url: str, url: str, place: Path, memory: dict[str, Any], *, lengths: tuple[int, ...], profile: bool
) -> float:
    """Print the costs for one type of memory; return the ratio of the longest thread's CPU to the shortest one's."""
    config = attrs.evolve(Config.load(place, env={}), providers={"openai": ProviderSettings(api_base=base_url)})
    runtime = await Runtime.open(url, config=config, plugins=PluginManager())
    spec = {"instructions": INSTRUCTIONS, "model": "openai/m", "memory": {**memory, "maxTokens": MAX_TOKENS}}
    await runtime.apply([{"apiVersion": "mastra.ai/v1", "kind": "Agent", "metadata": {"name": "keeper"}, "spec": spec}])
    with Rows(runtime) as rows:
        label = f"{url.partition(':')[0]:7s} {memory['type']:8s}"

        async def grow(length: int) -> None:
            for number in range(length):
                await turn(runtime, rows, None, f"long-{length}", number)

        began = time.perf_counter()
        for length in lengths:
            await grow(length)
        print(f"{label} {sum(lengths)} turns made in {time.perf_counter() - began:.1f} s")

        found: dict[int, list[Sample]] = {length: [] for length in lengths}
        async with aiohttp.ClientSession(base_url.removesuffix("/v1")) as session:
            for number in range(ROUNDS):
                for length in lengths:
                    found[length].append(await turn(runtime, rows, session, f"long-{length}", length + number))
        base = statistics.median(sample.cpu_ms for sample in found[lengths[0]])
        ratio = 0.0
        for length, samples in found.items():
            cpu, wall = (statistics.median(getattr(s, field) for s in samples) for field in ("cpu_ms", "wall_ms"))
            ratio = cpu / base
            tokens = max(sample.tokens for sample in samples)
            print(
                f"{label} turn {length:5d}: {cpu:6.2f} ms CPU ({ratio:4.2f}x) {wall:7.2f} ms, "
                f"at most {max(s.rows for s in samples):4d} rows read, {tokens:5d} of {MAX_TOKENS} tokens"
            )
            assert tokens <= MAX_TOKENS
        if profile:
            profiler = cProfile.Profile()
            profiler.enable()
            for number in range(100):
                await turn(runtime, rows, None, f"long-{lengths[-1]}", lengths[-1] + ROUNDS + number)
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    await runtime.aclose()
    return ratio


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="threads of 20 and 200 turns only")
    parser.add_argument("--store", choices=("memory", "file"), help="only this store")
    parser.add_argument("--only", choices=tuple(MEMORIES), help="only this type of memory")
    parser.add_argument("--profile", action="store_true", help="a hundred turns of the longest thread")
    options = parser.parse_args(arguments)
    lengths = LENGTHS[:-1] if options.quick else LENGTHS
    with model_server() as base_url, tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for name, memory in MEMORIES.items():
            for url in ("memory:", f"file:{place / f'{name}.db'}"):
                if options.only in (None, name) and (not options.store or url.startswith(options.store)):
                    asyncio.run(measure(base_url, url, place, memory, lengths=lengths, profile=options.profile))


@pytest.mark.benchmark
def test_cost_of_a_turn_in_a_long_conversation() -> None:
    main("--quick", "--store", "file")


if __name__ == "__main__":
    main(*sys.argv[1:])
