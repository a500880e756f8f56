"""Prints how long manifests take to read, as a ratio to PyYAML's fastest safe loader on the same text.

Run it: ``python tests/benchmarks/bench_manifests.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import yaml

from kastra_core.manifests import dump, parse

MANIFEST = """\
apiVersion: mastra.ai/v1
kind: Agent
metadata:
  name: recipe-assistant-{number}
  namespace: cooking
  labels:
    app: kitchen
    tier: "front"
spec:
  description: Helps people cook with what they have
  model:
    provider: openai
    name: gpt-4o-mini
    temperature: 0.7
  instructions: |
    You are a cook.
    Suggest recipes from what people have at home.
    Keep it short.
  tools:
    - name: fridge
    - name: timer
      namespace: common
  limits:
    maxSteps: 12
    timeoutSeconds: 300
  memory:
    enabled: true
    lastMessages: 20
"""


def best_s(work: Callable[[], Any], times: int, rounds: int = 7) -> float:
    """Return the seconds of one call in the fastest of ``rounds`` rounds of ``times`` calls."""
    least = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            work()
        least = min(least, (time.perf_counter() - start) / times)
    return least


def main() -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    one = MANIFEST.format(number=1)
    many = "---\n".join(MANIFEST.format(number=number) for number in range(1000))
    documents = [document.data for document in parse(many)]
    for name, text, times in (("1 manifest", one, 200), ("1000 manifests", many, 1)):
        theirs = best_s(lambda text=text: list(yaml.load_all(text, Loader=loader)), times)  # type: ignore[misc]
        ours = best_s(lambda text=text: parse(text), times)  # type: ignore[misc]
        print(f"parse {name}: {ours * 1e6:.0f} us, {loader.__name__} {theirs * 1e6:.0f} us, ratio {ours / theirs:.2f}")
    print(f"dump 1000 manifests: {best_s(lambda: dump(documents), 1) * 1e3:.1f} ms")
    big = "---\n".join(MANIFEST.format(number=number) for number in range(10_000))
    print(f"parse 10000 manifests ({len(big) / 1e6:.1f} MB): {best_s(lambda: parse(big), 1, 2):.2f} s")


if __name__ == "__main__":
    main()
