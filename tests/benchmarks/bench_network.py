"""What routing costs: model calls and CPU of an answer that a network routes, beside the member's own run.

    python tests/benchmarks/bench_network.py [CALLS] [--profile] [--only TEXT]

The model server answers at once and is a process of its own, embeddings come from there, too; so only this process's
CPU (all threads) is counted. Rounds alternate between the kinds and the best of each is compared, because other work on
the machine only ever adds time. Goals: at most 2 model calls beyond the member's own, 3 ms of CPU for a routed answer.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from kastra_core import PluginManager, Runtime
from kastra_core.config import Config, ProviderSettings

Call = Callable[[], Awaitable[object]]
MEMBERS = {
    "greeter": "Welcomes customers and answers general questions.",
    "technical": "Solves technical problems: errors, log-in, connections.",
    "billing": "Handles bills, payments, refunds and invoices.",
}
ASK = "My bill is too high, please look at the invoice of March. ROUTE(billing)"
ROUNDS = 5
GOAL_MS = 3.0
GOAL_CALLS = 2


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "mastra.ai/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def network(name: str, router: dict[str, Any], **spec: Any) -> dict[str, Any]:
    members = [{"name": member} for member in MEMBERS]
    return document("Network", name, instructions="Customer support.", agents=members, router=router, **spec)


DOCUMENTS = [
    *(
        document("Agent", name, instructions="Be brief.", description=text, model="openai/m")
        for name, text in MEMBERS.items()
    ),
    network("by-model", {"type": "model", "model": "openai/m"}),
    network("by-embedding", {"type": "embedding", "embeddings": "openai/mock-embed"}),
    network("with-state", {"type": "model", "model": "openai/m"}, state={"persistence": True}),
]


@contextmanager
def model_server() -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    mock = Path(__file__).parents[1] / "mock_openai.py"
    server = subprocess.Popen([sys.executable, str(mock), "--port", "0"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["base_url"]
    finally:
        server.terminate()
        server.wait()


@attrs.frozen
class Round:
    """What a call cost: CPU milliseconds, those of the kernel among them, and calls per second."""

    cpu_ms: float
    kernel_ms: float
    rate: float


async def round_of(call: Call, calls: int, at_once: int) -> Round:
    done = calls // at_once * at_once

    async def worker() -> None:
        for _ in range(calls // at_once):
            await call()

    gc.collect()
    before, wall = os.times(), time.perf_counter()
    cpu = time.process_time()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    cpu = time.process_time() - cpu
    wall, kernel = time.perf_counter() - wall, os.times().system - before.system
    return Round(cpu * 1000 / done, kernel * 1000 / done, done / wall)


async def served(base_url: str) -> dict[str, int]:
    """What the server counted since the last time this was asked."""
    root = base_url.removesuffix("/v1")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{root}/__stats") as answer:
            counted: dict[str, int] = await answer.json()
        async with session.post(f"{root}/__reset"):
            return counted


async def measure(base_url: str, url: str, place: Path, *, calls: int, only: str, profile: bool) -> list[float]:
    """Print what a store's runs cost; return the CPU of the routed kinds in ms."""
    config = attrs.evolve(Config.load(place, env={}), providers={"openai": ProviderSettings(api_base=base_url)})
    runtime = await Runtime.open(url, config=config, plugins=PluginManager())
    report = await runtime.apply(DOCUMENTS)
    assert not report.not_ready, [item.resource.status for item in report.not_ready]
    agent = runtime.get_agent("billing")
    kinds: dict[str, Call] = {"member alone": lambda: agent.generate(ASK)}
    for name in ("by-model", "by-embedding", "with-state"):
        found = runtime.get_network(name)
        kinds[name] = lambda found=found: found.generate(ASK)  # type: ignore[misc]
    kinds = {name: call for name, call in kinds.items() if name == "member alone" or only in name}
    store, routed = url.partition(":")[0], []

    await served(base_url)
    for name, call in kinds.items():
        await call()
        counted = await served(base_url)
        extra = counted["chat"] - 1
        print(f"{store:7s} {name:14s} {extra} model calls beyond the member's, {counted['embeddings']} embedding calls")
        assert extra <= GOAL_CALLS

    for at_once in (1, 64):
        for call in kinds.values():
            await round_of(call, 2 * at_once, at_once)
        results: dict[str, list[Round]] = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            for name, call in kinds.items():
                results[name].append(await round_of(call, calls, at_once))
        base = min(one.cpu_ms for one in results["member alone"])
        for name, rounds in results.items():
            best = min(rounds, key=lambda one: one.cpu_ms)
            if name != "member alone":
                routed.append(best.cpu_ms)
            median = statistics.median(one.cpu_ms for one in rounds)
            print(
                f"{store:7s} {at_once:3d} at once  {name:14s} {best.cpu_ms:6.3f} ms CPU (kernel {best.kernel_ms:.3f}, "
                f"median {median:.3f})  {best.cpu_ms - base:+6.3f} ms  {max(one.rate for one in rounds):6.0f} calls/s"
            )

    if profile:
        for name, call in kinds.items():
            profiler = cProfile.Profile()
            profiler.enable()
            await round_of(call, calls, 1)
            profiler.disable()
            print(f"\n--- {store} {name}: {calls} calls")
            pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
            pstats.Stats(profiler).sort_stats("cumtime").print_stats("kastra", 60)
    await runtime.aclose()
    return routed


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calls", nargs="?", type=int, default=640, help="calls of a round")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--store", choices=("memory", "file"), help="only this store")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args(arguments)
    with model_server() as base_url, tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        worst = 0.0
        for url in ("memory:", f"file:{place / 'bench.db'}"):
            if not options.store or url.startswith(options.store):
                routed = measure(base_url, url, place, calls=options.calls, only=options.only, profile=options.profile)
                worst = max(worst, *asyncio.run(routed))
    print(f"worst routed answer: {worst:.3f} ms CPU, goal {GOAL_MS:.1f} ms: {'met' if worst <= GOAL_MS else 'MISSED'}")


@pytest.mark.benchmark
def test_cost_of_a_routed_answer() -> None:
    main("128")


if __name__ == "__main__":
    main(*sys.argv[1:])
