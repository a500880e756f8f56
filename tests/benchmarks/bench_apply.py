"""10,000 small Agent manifests in one file: parsed, applied, and all reconciled to Ready.

    python tests/benchmarks/bench_apply.py [COUNT]

Prints seconds, peak memory and the ratio of the whole to parsing the same text with PyYAML's C loader alone, measured
in the same run and with the same setting of the garbage collector, the one of the command line. Goal: at most 3.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from kastra_core import PluginManager, Runtime, manifests
from kastra_core.cli import tune_gc
from kastra_core.config import Config

MANIFEST = """\
apiVersion: mastra.ai/v1
kind: Agent
metadata:
  name: agent-{n}
  namespace: bench
  labels:
    app: bench
    tier: tier-{t}
spec:
  instructions: "You are assistant number {n}. Answer briefly and in the language of the question."
  model:
    provider: openai
    name: gpt-4o
    parameters:
      temperature: 0.2
      maxTokens: 256
  memory:
    enabled: true
    type: buffer
  limits:
    maxSteps: 8
  scaling:
    minReplicas: 0
    maxReplicas: 4
"""


def text_of(count: int) -> str:
    return "---\n".join(MANIFEST.format(n=n, t=n % 7) for n in range(count))


async def measure(path: Path, project: Path, count: int) -> dict[str, float]:
    config = Config.load(project, env={})
    times: dict[str, float] = {}
    began = time.perf_counter()
    runtime = await Runtime.open(f"file:{project / 'bench.db'}", config=config, plugins=PluginManager())
    times["open"] = time.perf_counter() - began
    try:
        began = time.perf_counter()
        documents = manifests.read_sources([str(path)])
        times["parse"] = time.perf_counter() - began
        began = time.perf_counter()
        decoded = runtime.decode(documents)
        times["decode"] = time.perf_counter() - began
        began = time.perf_counter()
        applied = await runtime.client.apply(decoded)
        times["write"] = time.perf_counter() - began
        began = time.perf_counter()
        settled = await runtime.controllers.settled([a.resource.key for a in applied], 120)
        times["settle"] = time.perf_counter() - began
        kind = runtime.registry.resolve("agents")
        phases: dict[Any, int] = {}
        for item in (await runtime.client.list(kind)).items:
            phases[item.status.get("phase")] = phases.get(item.status.get("phase"), 0) + 1
        if not settled or phases != {"Ready": count}:
            raise SystemExit(f"not all are Ready: settled={settled}, {phases}")
    finally:
        await runtime.aclose()
    times["whole"] = sum(times.values())
    return times


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    os.environ.setdefault("OPENAI_API_KEY", "bench")
    tune_gc()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "agents.yaml"
        text = text_of(count)
        path.write_text(text, encoding="utf-8")
        began = time.perf_counter()
        parsed = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
        base = time.perf_counter() - began
        assert len(parsed) == count
        del parsed
        times = asyncio.run(measure(path, Path(place), count))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, seconds in times.items():
        print(f"{name:>8}: {seconds:7.3f} s  {seconds / count * 1e6:7.1f} us each  {seconds / base:5.2f}x CSafeLoader")
    print(f"    base: {base:7.3f} s  {base / count * 1e6:7.1f} us each (yaml.CSafeLoader alone)")
    print(f"peak memory: {peak:.0f} MB; share of parsing in the whole: {times['parse'] / times['whole']:.0%}")
    print(f"whole / CSafeLoader: {times['whole'] / base:.2f} (goal <= 3)")


@pytest.mark.benchmark
def test_applying_thousands_of_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_apply.py", "2000"])
    main()


if __name__ == "__main__":
    main()
