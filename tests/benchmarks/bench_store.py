"""The store on a file against bare apsw and sqlite3: the same work, durability, disk and minute.

Run: python tests/benchmarks/bench_store.py [--quick]. Prints times and ratios; compare ratios only within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import orjson

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.api.selectors import LabelSelector
from kastra_core.protocols.store import AppendRecord, ClaimRun, CreateResource, UpdateResource
from kastra_plugin_libsql.store import LibsqlStore, open_store

_TABLES = """
CREATE TABLE log (rv INTEGER PRIMARY KEY, type INT, kind INT, time INT, namespace TEXT, name TEXT, body BLOB);
CREATE TABLE resources (kind INT, namespace TEXT, name TEXT, rv INT, uid TEXT, labels TEXT,
                        PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;
"""
_LOG = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)"
_SYNCHRONOUS = {"full": "FULL", "relaxed": "NORMAL"}


def resource(n: int, namespace: str = "default") -> Resource:
    """About 700 bytes of JSON, like a small Agent."""
    return Resource(
        api_version="mastra.ai/v1",
        kind="Agent",
        metadata=ObjectMeta(
            name=f"agent-{n:06}",
            namespace=namespace,
            uid=f"00000000-0000-4000-8000-{n:012}",
            generation=1,
            creation_timestamp="2026-01-01T00:00:00Z",
            labels={"shard": str(n % 100)},
        ),
        spec={"instructions": "Answer in two sentences. " * 16, "model": {"provider": "openai", "name": "m"}},
    )


BODY = orjson.dumps(resource(0).to_manifest())


class Bare:
    """One connection and the two statements that an update needs, by apsw or by sqlite3."""

    def __init__(self, path: Path, driver: str, durability: str) -> None:
        connection: Any = (
            apsw.Connection(str(path)) if driver == "apsw" else sqlite3.connect(path, isolation_level=None)
        )
        self.execute: Callable[..., Any] = connection.execute
        self.close = connection.close
        self.execute("PRAGMA journal_mode = WAL").fetchall()
        self.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        for statement in _TABLES.split(";")[:2]:
            self.execute(statement)
        self.rv = 0

    def create(self, count: int) -> None:
        self.execute("BEGIN IMMEDIATE")
        for n in range(count):
            self.rv += 1
            self.execute(_LOG, (self.rv, 0, 1, 1, "default", f"agent-{n:06}", BODY))
            self.execute(
                "INSERT OR REPLACE INTO resources VALUES (1, 'default', ?, ?, ?, NULL)",
                (f"agent-{n:06}", self.rv, "0" * 36),
            )
        self.execute("COMMIT")

    def update(self, n: int = 0) -> None:
        self.rv += 1
        self.execute("BEGIN IMMEDIATE")
        self.execute(_LOG, (self.rv, 1, 1, 1, "default", f"agent-{n:06}", BODY))
        self.execute(
            "UPDATE resources SET rv = ? WHERE kind = 1 AND namespace = 'default' AND name = ?",
            (self.rv, f"agent-{n:06}"),
        )
        self.execute("COMMIT")

    def get(self, n: int) -> Any:
        return self.execute(
            "SELECT l.rv, l.body FROM resources r JOIN log l ON l.rv = r.rv"
            " WHERE r.kind = 1 AND r.namespace = 'default' AND r.name = ?",
            (f"agent-{n:06}",),
        ).fetchone()


class Meter:
    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu


def show(what: str, value: str, ratio: str = "") -> None:
    print(f"  {what:<58} {value:>16}  {ratio}")


async def updates(store: LibsqlStore, n: int, count: int) -> list[float]:
    """Update one resource ``count`` times on its version; seconds of each commit."""
    current = await store.resources.get(resource(n).key)
    assert current is not None
    took = []
    for at in range(count):
        start = time.perf_counter()
        [current] = await store.commit(
            [UpdateResource(current.evolve(status={"n": at}), current.metadata.resource_version)]
        )
        took.append(time.perf_counter() - start)
    return took


@contextmanager
def spinning(loop_task: Callable[[], Awaitable[None]]) -> Iterator[None]:
    task = asyncio.ensure_future(loop_task())
    try:
        yield
    finally:
        task.cancel()


async def spin() -> None:
    """Keep the event loop busy: 0.2 ms of work each turn."""
    while True:
        end = time.perf_counter() + 0.0002
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


async def lone(directory: Path, durability: str, rounds: int) -> float:
    """Alternating blocks of one-at-a-time commits; returns the bare rate."""
    print(f"one commit at a time, durability {durability} (update of one resource, 700 bytes)")
    store = await open_store(f"file:{directory}/lone-{durability}.db", {"durability": durability})
    # Enough to grow the write-ahead log to its full length: from then on it is overwritten, by all alike.
    await store.commit([CreateResource(resource(n)) for n in range(4000)])
    bares = {name: Bare(directory / f"lone-{durability}-{name}.db", name, durability) for name in ("apsw", "sqlite3")}
    for bare in bares.values():
        bare.create(4000)
    times: dict[str, list[float]] = {"apsw": [], "sqlite3": [], "store": []}
    meter, bare_meter = Meter(), Meter()
    for _ in range(rounds):
        for name, bare in bares.items():
            with bare_meter.running() if name == "apsw" else Meter().running():
                for n in range(50):
                    start = time.perf_counter()
                    bare.update(n)
                    times[name].append(time.perf_counter() - start)
        with meter.running():
            times["store"] += await updates(store, 7, 50)
    base = statistics.median(times["apsw"])
    for name, found in times.items():
        middle = statistics.median(found)
        show(f"{name}: median", f"{middle * 1e6:.0f} us", f"{middle / base:.2f} x apsw")
    show("store: CPU a commit", f"{meter.cpu_s / rounds / 50 * 1e6:.0f} us", "")
    show("bare apsw: CPU a commit", f"{bare_meter.cpu_s / rounds / 50 * 1e6:.0f} us", "")
    for bare in bares.values():
        bare.close()
    await store.aclose()
    return 1 / base


async def many(directory: Path, durability: str, count: int, bare_rate: float) -> None:
    print(f"64 tasks, each one commit after the other, durability {durability}")
    store = await open_store(f"file:{directory}/many-{durability}.db", {"durability": durability})
    await store.commit([CreateResource(resource(n)) for n in range(64)])
    await asyncio.gather(*(updates(store, n, 5) for n in range(64)))
    for busy in (False, True):
        meter = Meter()
        with meter.running(), spinning(spin if busy else lambda: asyncio.sleep(0)):
            await asyncio.gather(*(updates(store, n, count) for n in range(64)))
        rate = 64 * count / meter.wall_s
        show(f"store{', loop kept busy' if busy else ''}: commits", f"{rate:,.0f} /s", f"{rate / bare_rate:.1f} x bare")
        if not busy:
            show("store: CPU a commit", f"{meter.cpu_s / 64 / count * 1e6:.0f} us")
    await store.aclose()


async def bulk(directory: Path, count: int) -> None:
    print(f"{count} creates in commits of 500, durability full")
    bare = Bare(directory / "bulk-bare.db", "apsw", "full")
    bare_meter = Meter()
    with bare_meter.running():
        for _ in range(count // 500):
            bare.create(500)
    bare.close()
    resources = [resource(n) for n in range(count)]
    for busy in (False, True):
        store = await open_store(f"file:{directory}/bulk-{busy}.db", {})
        meter = Meter()
        with spinning(spin if busy else lambda: asyncio.sleep(0)), meter.running():
            for at in range(0, count, 500):
                await store.commit([CreateResource(r) for r in resources[at : at + 500]])
        if busy:
            show("store, loop kept busy: wall a resource", f"{meter.wall_s / count * 1e6:.1f} us")
        else:
            cpu = meter.cpu_s / count
            show("store: CPU a resource", f"{cpu * 1e6:.1f} us", f"{cpu / (bare_meter.cpu_s / count):.1f} x bare")
        await store.aclose()


async def reads(directory: Path, count: int) -> None:
    print(f"reads, {count} resources")
    path = directory / "reads.db"
    store = await open_store(f"file:{path}", {})
    for at in range(0, count, 2000):
        await store.commit([CreateResource(resource(n)) for n in range(at, at + 2000)])
    bare = Bare(directory / "reads-bare.db", "apsw", "full")
    bare.create(count)
    keys = [resource(n * 7 % count).key for n in range(5000)]
    start = time.perf_counter()
    for n in range(5000):
        Resource.from_manifest(orjson.loads(bare.get(n * 7 % count)[1]))
    bare_s = (time.perf_counter() - start) / 5000
    start = time.perf_counter()
    for key in keys:
        await store.resources.get(key)
    own_s = (time.perf_counter() - start) / 5000
    show("get", f"{own_s * 1e6:.1f} us", f"{own_s / bare_s:.2f} x bare select + parse")
    label = LabelSelector.parse("shard=7")
    choices: dict[str, dict[str, Any]] = {"limit=1000": {"limit": 1000}, "1 % by label": {"labels": label}}
    for what, arguments in choices.items():
        start = time.perf_counter()
        page = await store.resources.list("mastra.ai", "Agent", **arguments)
        took = time.perf_counter() - start
        show(f"list, {what}: {len(page.items)} found", f"{took * 1e3:.1f} ms")
    bare.close()
    await store.aclose()
    size = path.stat().st_size / count
    show("file a resource", f"{size:.0f} bytes", f"{size / len(BODY):.2f} x JSON")


async def watches(directory: Path, count: int) -> None:
    print("watch latency: from the start of the commit to the event in the watcher's hands")
    url = f"file:{directory}/watch.db"
    store = await open_store(url, {"durability": "relaxed"})
    other = await open_store(url, {"durability": "relaxed"})
    for what, source in (("same store", store), ("another store on the file", other)):
        watch = source.resources.watch("mastra.ai", "Agent")
        sent: list[float] = []
        took: list[float] = []

        async def follow(watch: Any = watch, sent: list[float] = sent, took: list[float] = took) -> None:
            for _ in range(count):
                await anext(watch)
                took.append(time.perf_counter() - sent[len(took)])

        following = asyncio.ensure_future(follow())
        for n in range(count):
            sent.append(time.perf_counter())
            await store.commit([CreateResource(resource(n, what.replace(" ", "-")))])
            await asyncio.sleep(0.003)
        await following
        took.sort()
        show(what, f"p50 {took[len(took) // 2] * 1e3:.2f} ms", f"p99 {took[int(len(took) * 0.99)] * 1e3:.2f} ms")
    waiting = [asyncio.ensure_future(anext(store.resources.watch("", ""))) for _ in range(10)]
    start = time.process_time()
    await asyncio.sleep(2)
    show("idle, 10 watchers: CPU", f"{(time.process_time() - start) / 2 * 100:.2f} %")
    await store.aclose()
    await other.aclose()
    await asyncio.gather(*waiting, return_exceptions=True)


async def journal(directory: Path, runs: int, steps: int) -> None:
    print(f"journal: {runs} runs at once, {steps} records each")
    path = directory / "journal.db"
    store = await open_store(f"file:{path}", {})
    key = resource(0).key
    await store.commit([ClaimRun(f"00000000-0000-4000-8000-{n:012}", key, "worker") for n in range(runs)])

    async def run(n: int) -> None:
        for step in range(steps):
            record = {"ok": True, "value": {"n": step, "text": "x" * 40}}
            await store.commit([AppendRecord(f"00000000-0000-4000-8000-{n:012}", f"/step#{step}/tool", record, 1)])

    meter = Meter()
    with meter.running():
        await asyncio.gather(*map(run, range(runs)))
    await store.aclose()
    show("records", f"{runs * steps / meter.wall_s:,.0f} /s", f"{meter.cpu_s / runs / steps * 1e6:.0f} us CPU each")
    show("file a record (record itself: 74 bytes)", f"{path.stat().st_size / runs / steps:.0f} bytes")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--dir", help="where the databases are made; default: the temporary directory")
    arguments = parser.parse_args()
    scale = 1 if arguments.quick else 10
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        directory = Path(name)
        for durability in ("full", "relaxed"):
            rate = await lone(directory, durability, 2 * scale)
            await many(directory, durability, 15 * scale, rate)
        await bulk(directory, 1000 * scale)
        await reads(directory, 10_000 * scale)
        await watches(directory, 50 * scale)
        await journal(directory, 64, 10 * scale)


if __name__ == "__main__":
    asyncio.run(main())
