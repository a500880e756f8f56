"""What a long history costs: one store against another with a hundredth of its content.

    python tests/benchmarks/bench_store_scale.py [--quick] [--resources N] [--runs N] [--records N] [--dir DIRECTORY]

Default: 100,000 resources, 10,000 finished runs with 100 journal records each (1,000,000). Both stores have the same 20
unfinished runs. Each operation is measured in turns on both; the ratio of the best rounds should be about 1 (a point
read goes one or two pages deeper, and a store keeps the last 1,024 resources in memory, which is all of the small
one), and memory should not grow with the file. A list is measured by what it finds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource as process
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.api.selectors import LabelSelector
from kastra_core.protocols.store import (
    AppendRecord,
    ClaimRun,
    CreateResource,
    DropJournal,
    ReleaseRun,
    Store,
    UpdateResource,
)
from kastra_plugin_libsql.store import open_store

UNFINISHED = 20
GROUP, KIND = "mastra.ai", "Agent"
RECORD = {"ok": True, "value": {"n": 1, "text": "x" * 40}}


def resource(n: int) -> Resource:
    return Resource(
        api_version="mastra.ai/v1",
        kind=KIND,
        metadata=ObjectMeta(
            name=f"agent-{n:07}",
            namespace=f"team-{n % 10}",
            uid=f"00000000-0000-4000-8000-{n:012}",
            creation_timestamp="2026-01-01T00:00:00Z",
            labels={"shard": str(n % 100)},
        ),
        spec={"instructions": "Answer in two sentences. " * 16, "model": {"provider": "openai", "name": "m"}},
    )


@attrs.frozen
class Size:
    resources: int
    runs: int
    records: int
    """Of each run."""

    def hundredth(self) -> Size:
        return Size(max(100, self.resources // 100), max(1, self.runs // 100), self.records)


async def fill(url: str, size: Size) -> None:
    store = await open_store(url, {})
    for first in range(0, size.resources, 1000):
        last = min(first + 1000, size.resources)
        await store.commit([CreateResource(resource(n)) for n in range(first, last)])
    for n in range(-UNFINISHED, size.runs):
        run = f"run-{n}"
        await store.commit(
            [
                ClaimRun(run, resource(0).key, "worker"),
                *(AppendRecord(run, f"/step#{at}/tool", RECORD, 1) for at in range(size.records)),
                *([ReleaseRun(run, 1)] if n >= 0 else []),
            ]
        )
    await store.aclose()


class Work:
    """The operations on one of the two stores; each gives how many things it handled."""

    def __init__(self, url: str, size: Size) -> None:
        self.url, self.size = url, size
        self.choose = random.Random(1)
        self.made = 0
        self.dropped = 0
        self.took = 0.0
        """Set by an operation of which only a part counts."""
        self.store: Store

    def some(self) -> int:
        return self.choose.randrange(self.size.resources)

    async def open(self) -> int:
        store = await open_store(self.url, {})
        await store.resources.get(resource(self.some()).key)
        await store.aclose()
        return 1

    async def get(self) -> int:
        for _ in range(100):
            assert await self.store.resources.get(resource(self.some()).key) is not None
        return 100

    async def page(self) -> int:
        namespace = f"team-{self.choose.randrange(10)}"
        return len((await self.store.resources.list(GROUP, KIND, namespace=namespace, limit=1000)).items)

    async def next_page(self) -> int:
        """The page after the first half of a namespace."""
        middle = self.size.resources // 20
        page = await self.store.resources.list(GROUP, KIND, namespace="team-3", limit=middle)
        before = time.perf_counter()
        page = await self.store.resources.list(
            GROUP, KIND, namespace="team-3", limit=min(1000, middle - 1), continue_token=page.continue_token
        )
        self.took = time.perf_counter() - before
        return len(page.items)

    async def label(self) -> int:
        return len((await self.store.resources.list(GROUP, KIND, labels=LabelSelector.parse("shard=7"))).items)

    async def create(self) -> int:
        for _ in range(20):
            self.made += 1
            await self.store.commit([CreateResource(resource(10_000_000 + self.made))])
        return 20

    async def update(self) -> int:
        for _ in range(20):
            await self.store.commit([UpdateResource(resource(self.some()))])
        return 20

    async def append(self) -> int:
        for _ in range(20):
            self.made += 1
            await self.store.commit([AppendRecord("run--1", f"/more#{self.made}", RECORD, 1)])
        return 20

    async def records(self) -> int:
        run = self.choose.randrange(self.dropped, self.size.runs)
        return len(await self.store.journal.records(f"run-{run}"))

    async def drop(self) -> int:
        if self.dropped + 1 >= self.size.runs:
            return 0
        await self.store.commit([DropJournal(f"run-{self.dropped}")])
        self.dropped += 1
        return 1

    async def claims(self) -> int:
        assert len(await self.store.journal.claims()) == UNFINISHED
        return 1

    async def counts(self) -> int:
        assert (await self.store.resources.counts())[(GROUP, KIND)] >= self.size.resources
        return 1


OPERATIONS: dict[str, Callable[[Work], Awaitable[int]]] = {
    "open, one read, close": Work.open,
    "get": Work.get,
    "list of up to 1,000 by namespace, a resource": Work.page,
    "a page from the middle on, a resource": Work.next_page,
    "list of 1 % by label, a resource found": Work.label,
    "create": Work.create,
    "update": Work.update,
    "append a record": Work.append,
    "records of one run, a record": Work.records,
    "drop a journal": Work.drop,
    "claims": Work.claims,
    "counts": Work.counts,
}


async def compare(small: Work, large: Work, rounds: int) -> None:
    for work in (small, large):
        work.store = await open_store(work.url, {"durability": "relaxed"})
    print(f"  {'best round, relaxed durability':<46} {'1/100':>10} {'whole':>10}   ratio")
    for name, operation in OPERATIONS.items():
        best: dict[Work, list[float]] = {}
        for _ in range(rounds):
            for work in (small, large):
                work.took = 0.0
                before = time.perf_counter()
                count = await operation(work)
                took = work.took or time.perf_counter() - before
                if count:
                    best.setdefault(work, []).append(took / count * 1e6)
        one, other = (min(best.get(work, [float("nan")])) for work in (small, large))
        print(f"  {name:<46} {one:>7.1f} us {other:>7.1f} us   {other / one:.2f}", flush=True)
    for work in (small, large):
        await work.store.aclose()


async def live(url: str, resources: int, *, watching: bool) -> None:
    """A process that opens the store and does 1,000 operations, or that watches while 1,000 commits are made."""
    store = await open_store(url, {"durability": "relaxed"})
    choose = random.Random(2)
    if watching:
        following = store.resources.watch("", "")
        for _ in range(1000):
            await store.commit([UpdateResource(resource(choose.randrange(resources)))])
            await anext(following)
    else:
        for _ in range(500):
            found = await store.resources.get(resource(choose.randrange(resources)).key)
            assert found is not None
            await store.commit([UpdateResource(found)])
    await store.aclose()
    print(peak_kb() / 1024)


def peak_kb() -> float:
    """getrusage also counts what the parent had when it started this process; Linux knows better."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1])
    return process.getrusage(process.RUSAGE_SELF).ru_maxrss


def memory(url: str, resources: int, what: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--live", url, str(resources), what], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def measure(directory: Path, size: Size, rounds: int) -> None:
    sizes = {"small": size.hundredth(), "large": size}
    works = {}
    for name, of in sizes.items():
        url = f"file:{directory}/{name}.db"
        before = time.perf_counter()
        asyncio.run(fill(url, of))
        megabytes = (directory / f"{name}.db").stat().st_size / 1e6
        print(
            f"{of.resources:,} resources, {of.runs * of.records:,} records of {of.runs:,} runs: {megabytes:,.1f} MB,"
            f" filled in {time.perf_counter() - before:.1f} s"
        )
        works[name] = Work(url, of)
    asyncio.run(compare(works["small"], works["large"], rounds))
    for what, label in (("operate", "1,000 operations"), ("watch", "1,000 events watched")):
        one, other = (
            statistics.median(memory(works[name].url, sizes[name].resources, what) for _ in range(3))
            for name in ("small", "large")
        )
        print(f"  {'peak memory of a process, ' + label:<46} {one:>7.1f} MB {other:>7.1f} MB   {other / one:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the content: about 20 s")
    parser.add_argument("--resources", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=100, help="of each run")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dir", help="where the databases are made; default: the temporary directory")
    parser.add_argument("--live", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.live:
        url, resources, what = arguments.live
        asyncio.run(live(url, int(resources), watching=what == "watch"))
        return
    share = 10 if arguments.quick else 1
    size = Size(arguments.resources // share, arguments.runs // share, arguments.records)
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        measure(Path(name), size, arguments.rounds)


@pytest.mark.benchmark
def test_a_large_store_against_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_store_scale.py", "--quick"])
    main()


if __name__ == "__main__":
    main()
