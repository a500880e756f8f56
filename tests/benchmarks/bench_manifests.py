"""Prints how long manifests take to read, as a ratio to PyYAML's fastest safe loader on the same text.

Run it: ``python tests/benchmarks/bench_manifests.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
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


def best_s(works: Sequence[Callable[[], Any]], times: int, rounds: int = 9) -> list[float]:
    """Return the seconds of one call of each work in its fastest round; they take turns, so load hits all alike."""
    least = [float("inf")] * len(works)
    for _ in range(rounds):
        for number, work in enumerate(works):
            start = time.perf_counter()
            for _ in range(times):
                work()
            least[number] = min(least[number], (time.perf_counter() - start) / times)
    return least


def main() -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    one = MANIFEST.format(number=1)
    many = "---\n".join(MANIFEST.format(number=number) for number in range(1000))
    for name, text, times in (("1 manifest", one, 200), ("1000 manifests", many, 1)):
        ours, theirs = best_s([partial(parse, text), partial(_theirs, text, loader)], times)
        print(f"parse {name}: {ours * 1e6:.0f} us, {loader.__name__} {theirs * 1e6:.0f} us, ratio {ours / theirs:.2f}")
    documents = [document.data for document in parse(many)]
    print(f"dump 1000 manifests: {best_s([partial(dump, documents)], 1)[0] * 1e3:.1f} ms")
    big = "---\n".join(MANIFEST.format(number=number) for number in range(10_000))
    print(f"parse 10000 manifests ({len(big) / 1e6:.1f} MB): {best_s([partial(parse, big)], 1, 2)[0]:.2f} s")


def _theirs(text: str, loader: Any) -> list[Any]:
    return list(yaml.load_all(text, Loader=loader))


if __name__ == "__main__":
    main()
