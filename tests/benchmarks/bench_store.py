"""The store on a file against bare apsw and bare sqlite3: the same work, durability, disk and minute.

    python tests/benchmarks/bench_store.py [--quick] [--dir DIRECTORY]

Contenders take turns in short rounds. Printed are the best round, which other work on the machine disturbs least, the
median of all rounds, and ratios to bare apsw; compare ratios only within one run. Goals stand beside the figures:
one task within 1.5 of the bare commit; 64 tasks at least 20 times one, where a commit waits for a disk; watchers p99
5 ms in the process and 50 ms across processes. Give ``--dir`` a tmpfs to see it where fsync is free.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

from kastra_core.api.meta import ObjectMeta, Resource
from kastra_core.protocols.store import AppendRecord, ClaimRun, CreateResource, Store, UpdateResource
from kastra_plugin_libsql.store import open_store

TASKS = 64
TABLES = """
CREATE TABLE log (rv INTEGER PRIMARY KEY, type INT, kind INT, time INT, namespace TEXT, name TEXT, body BLOB);
CREATE TABLE resources (kind INT, namespace TEXT, name TEXT, rv INT, uid TEXT, labels TEXT,
                        PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;
CREATE TABLE journal (id INTEGER PRIMARY KEY, run INT, path TEXT, time REAL, record BLOB);
CREATE UNIQUE INDEX journal_path ON journal (run, path);
"""
GET = (
    "SELECT l.rv, l.body FROM resources r JOIN log l ON l.rv = r.rv WHERE r.kind = 1 AND r.namespace = ? AND r.name = ?"
)
PAGE = (
    "SELECT l.rv, l.body FROM resources r CROSS JOIN log l ON l.rv = r.rv WHERE r.kind = 1 AND r.namespace = ?"
    " ORDER BY r.name LIMIT ?"
)
SYNCHRONOUS = {"full": "FULL", "relaxed": "NORMAL"}
RECORD = {"ok": True, "value": {"n": 1, "text": "x" * 40}}


def resource(n: int) -> Resource:
    """About 700 bytes of JSON, like a small Agent."""
    return Resource(
        api_version="mastra.ai/v1",
        kind="Agent",
        metadata=ObjectMeta(
            name=f"agent-{n:06}",
            namespace=f"team-{n % 10}",
            uid=f"00000000-0000-4000-8000-{n:012}",
            generation=1,
            creation_timestamp="2026-01-01T00:00:00Z",
            labels={"shard": str(n % 100)},
        ),
        spec={"instructions": "Answer in two sentences. " * 16, "model": {"provider": "openai", "name": "m"}},
    )


MANIFEST = resource(0).to_manifest()
BODY = orjson.dumps(MANIFEST)


class Bare:
    """One connection and the statements that the work needs, by apsw or by sqlite3."""

    def __init__(self, path: Path, driver: str, durability: str = "full") -> None:
        connection: Any = (
            apsw.Connection(str(path)) if driver == "apsw" else sqlite3.connect(path, isolation_level=None)
        )
        self.path = path
        self.execute: Callable[..., Any] = connection.execute
        self.close = connection.close
        self.execute("PRAGMA journal_mode = WAL").fetchall()
        self.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
        for statement in TABLES.split(";")[:-1]:
            self.execute(statement)
        self.rv = self.records = 0

    def create(self, first: int, count: int) -> None:
        self.execute("BEGIN IMMEDIATE")
        for n in range(first, first + count):
            self.rv += 1
            at = (f"team-{n % 10}", f"agent-{n:06}")
            self.execute("INSERT INTO log VALUES (?, 0, 1, 1, ?, ?, ?)", (self.rv, *at, BODY))
            self.execute(
                "INSERT INTO resources VALUES (1, ?, ?, ?, ?, ?)", (*at, self.rv, "0" * 36, f'{{"shard":"{n % 100}"}}')
            )
        self.execute("COMMIT")

    def update(self, n: int) -> None:
        body = orjson.dumps(MANIFEST)
        self.rv += 1
        at = (f"team-{n % 10}", f"agent-{n:06}")
        self.execute("BEGIN IMMEDIATE")
        self.execute("INSERT INTO log VALUES (?, 1, 1, 1, ?, ?, ?)", (self.rv, *at, body))
        self.execute("UPDATE resources SET rv = ? WHERE kind = 1 AND namespace = ? AND name = ?", (self.rv, *at))
        self.execute("COMMIT")

    def record(self, n: int) -> None:
        body = orjson.dumps(RECORD)
        self.records += 1
        self.execute("BEGIN IMMEDIATE")
        self.execute("INSERT INTO journal VALUES (?, 1, ?, 1.5, ?)", (self.records, f"/step#{self.records}/tool", body))
        self.execute("COMMIT")

    def get(self, n: int) -> Resource:
        rv, body = self.execute(GET, (f"team-{n % 10}", f"agent-{n:06}")).fetchone()
        return parse(rv, body)

    def page(self, limit: int) -> list[Resource]:
        return [parse(rv, body) for rv, body in self.execute(PAGE, ("team-3", limit))]


def parse(rv: int, body: bytes) -> Resource:
    manifest = orjson.loads(body)
    manifest["metadata"]["resourceVersion"] = str(rv)
    return Resource.from_manifest(manifest)


class Times:
    """Seconds of single operations, in rounds."""

    def __init__(self) -> None:
        self.rounds: list[list[float]] = []

    @property
    def best(self) -> float:
        return min(statistics.median(taken) for taken in self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(value for taken in self.rounds for value in taken)


def show(what: str, value: str, *more: str) -> None:
    print(f"  {what:<46} {value:>14}  {'  '.join(more)}", flush=True)


def table(times: dict[str, Times], goal: str = "", scale: float = 1e6, unit: str = "us") -> None:
    base = times["bare apsw"]
    for name, found in times.items():
        show(
            name,
            f"{found.best * scale:.1f} {unit}",
            f"median {found.median * scale:.1f} {unit}",
            f"{found.best / base.best:.2f} x apsw, median {found.median / base.median:.2f}",
            goal if name == "store" else "",
        )


def percent(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def updates(store: Store, n: int, count: int) -> list[float]:
    """Update one resource ``count`` times on its version; seconds of each commit."""
    current = await store.resources.get(resource(n).key)
    assert current is not None
    took = []
    for _ in range(count):
        start = time.perf_counter()
        [current] = await store.commit([UpdateResource(current, current.metadata.resource_version)])
        took.append(time.perf_counter() - start)
    return took


async def records(store: Store, run: str, first: int, count: int) -> list[float]:
    took = []
    for n in range(first, first + count):
        start = time.perf_counter()
        await store.commit([AppendRecord(run, f"/step#{n}/tool", RECORD, 1)])
        took.append(time.perf_counter() - start)
    return took


def timed(action: Callable[[int], Any], count: int) -> list[float]:
    took = []
    for n in range(count):
        start = time.perf_counter()
        action(n)
        took.append(time.perf_counter() - start)
    return took


@contextmanager
def spinning(turn_s: float) -> Iterator[None]:
    """Keep the event loop busy with turns of this length."""

    async def spin() -> None:
        while True:
            end = time.perf_counter() + turn_s
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    task = asyncio.ensure_future(spin())
    try:
        yield
    finally:
        task.cancel()


async def commits(directory: Path, durability: str, rounds: int) -> None:
    store = await open_store(f"file:{directory}/lone-{durability}.db", {"durability": durability})
    bares = {
        f"bare {name}": Bare(directory / f"{name}-{durability}.db", name, durability) for name in ("apsw", "sqlite3")
    }
    # Enough to grow the write-ahead log to its full length: from then on it is overwritten, by all alike.
    await store.commit([CreateResource(resource(n)) for n in range(4000)])
    await store.commit([ClaimRun(f"run-{n}", resource(n).key, "worker") for n in range(TASKS)])
    for bare in bares.values():
        bare.create(0, 4000)
    await updates(store, 7, 100)
    update: dict[str, Times] = {name: Times() for name in (*bares, "store")}
    record: dict[str, Times] = {name: Times() for name in (*bares, "store")}
    together: list[float] = []
    cpu = 0.0
    for round_ in range(rounds):
        for name, bare in bares.items():
            update[name].rounds.append(timed(bare.update, 50))
            record[name].rounds.append(timed(bare.record, 50))
        update["store"].rounds.append(await updates(store, 7, 50))
        record["store"].rounds.append(await records(store, "run-7", round_ * 50, 50))
        start, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(updates(store, n, 10) for n in range(TASKS)))
        together.append((time.perf_counter() - start) / TASKS / 10)
        cpu += (time.process_time() - used) / TASKS / 10
    print(f"one task, one acknowledged commit after the other, durability {durability}: update of {len(BODY)} bytes")
    table(update, "(goal 1.5)")
    print(f"the same: a journal record of {len(orjson.dumps(RECORD))} bytes")
    table(record, "(goal 1.5)")
    best, middle = min(together), statistics.median(together)
    one = update["store"]
    print(f"{TASKS} tasks, durability {durability}")
    show(
        "store: commits", f"{1 / best:,.0f} /s", f"median {1 / middle:,.0f} /s", f"{cpu / rounds * 1e6:.0f} us CPU each"
    )
    show(
        "rate to that of one task",
        f"{one.best / best:.1f} x",
        f"median {one.median / middle:.1f} x",
        "(goal 20 where fsync costs 0.5 ms or more)" if durability == "full" else "",
    )
    bare = bares["bare apsw"]
    show("rate to that of the bare commit", f"{update['bare apsw'].best / best:.1f} x")
    for bare in bares.values():
        bare.close()
    await store.aclose()


async def busy_loop(directory: Path, rounds: int) -> None:
    print("8 commits at once while the loop is kept busy: milliseconds until all are acknowledged")
    store = await open_store(f"file:{directory}/busy.db", {})
    await store.commit([CreateResource(resource(n)) for n in range(8)])
    for turn_s in (0.00005, 0.0002, 0.001):
        took = []
        with spinning(turn_s):
            for _ in range(rounds * 6):
                start = time.perf_counter()
                await asyncio.gather(*(store.commit([UpdateResource(resource(n))]) for n in range(8)))
                took.append((time.perf_counter() - start) * 1e3)
        show(f"turns of {turn_s * 1e3:g} ms", f"p50 {percent(took, 0.5):.1f} ms", f"max {max(took):.1f} ms")
    await store.aclose()


async def bulk(directory: Path, store: Store, bares: dict[str, Bare], count: int) -> None:
    print(f"{count:,} creates in commits of 500, durability full")
    cpu: dict[str, float] = dict.fromkeys((*bares, "store"), 0.0)
    for first in range(0, count, 500):
        for name, bare in bares.items():
            start = time.process_time()
            bare.create(first, 500)
            cpu[name] += time.process_time() - start
        operations = [CreateResource(resource(n)) for n in range(first, first + 500)]
        start = time.process_time()
        await store.commit(operations)
        cpu["store"] += time.process_time() - start
    for name, used in cpu.items():
        show(f"{name}: CPU a resource", f"{used / count * 1e6:.1f} us", f"{used / cpu['bare apsw']:.2f} x apsw")


async def reads(directory: Path, count: int, rounds: int) -> None:
    store = await open_store(f"file:{directory}/reads.db", {})
    bares = {f"bare {name}": Bare(directory / f"reads-{name}.db", name) for name in ("apsw", "sqlite3")}
    await bulk(directory, store, bares, count)
    choose = random.Random(1)
    get: dict[str, Times] = {name: Times() for name in (*bares, "store")}
    page: dict[str, Times] = {name: Times() for name in (*bares, "store")}
    for _ in range(rounds):
        wanted = [choose.randrange(count) for _ in range(500)]
        for name, bare in bares.items():
            get[name].rounds.append(timed(lambda n, bare=bare, wanted=wanted: bare.get(wanted[n]), 500))  # type: ignore[misc]
            page[name].rounds.append(timed(lambda _, bare=bare: bare.page(1000), 1))  # type: ignore[misc]
        took = []
        for n in wanted:
            key = resource(n).key
            start = time.perf_counter()
            await store.resources.get(key)
            took.append(time.perf_counter() - start)
        get["store"].rounds.append(took)
        start = time.perf_counter()
        found = await store.resources.list("mastra.ai", "Agent", namespace="team-3", limit=1000)
        page["store"].rounds.append([time.perf_counter() - start])
        assert len(found.items) == min(1000, count // 10)
        del found
    print(f"a point read out of {count:,}, parsed; every key once")
    table(get)
    show("store: reads", f"{1 / get['store'].best:,.0f} /s")
    print(f"a list of {min(1000, count // 10):,} out of {count:,} by namespace, parsed")
    table(page, scale=1e3, unit="ms")
    await store.aclose()
    size = (directory / "reads.db").stat().st_size / count
    for bare in bares.values():
        bare.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        bare.close()
    plain = (directory / "reads-apsw.db").stat().st_size / count
    show("file a resource", f"{size:.0f} bytes", f"{size / len(BODY):.2f} x its JSON", f"bare tables {plain:.0f} bytes")


async def journal_size(directory: Path, runs: int, steps: int) -> None:
    path = directory / "journal.db"
    store = await open_store(f"file:{path}", {})
    uids = [f"00000000-0000-4000-8000-{n:012}" for n in range(runs)]
    await store.commit([ClaimRun(uid, resource(0).key, "worker") for uid in uids])
    start, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(records(store, uid, 0, steps) for uid in uids))
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    await store.aclose()
    size = path.stat().st_size / runs / steps
    print(f"journals: {runs} runs at once, {steps} records each")
    show("records", f"{runs * steps / wall:,.0f} /s", f"{cpu / runs / steps * 1e6:.0f} us CPU each")
    show("file a record", f"{size:.0f} bytes", f"the record itself {len(orjson.dumps(RECORD))} bytes")


async def write_for_watchers(url: str, count: int, gap_s: float) -> None:
    """In a process of its own: commits at random times, each carrying when it began."""
    store = await open_store(url, {})
    for n in range(count):
        await asyncio.sleep(random.uniform(0.5, 1.5) * gap_s)
        await store.commit([CreateResource(resource(n).evolve(status={"began": time.monotonic()}))])
    await store.aclose()


async def watches(directory: Path, count: int, idle_s: float) -> None:
    print("watch latency: from the start of a commit, fsync included, to the event in the watcher's hands")
    own = await open_store(f"file:{directory}/watch.db", {})
    following = own.resources.watch("mastra.ai", "Agent")
    writing = asyncio.ensure_future(_write(own, count))
    took = [await _latency(following) for _ in range(count)]
    await writing
    show("same process", f"p50 {percent(took, 0.5):.2f} ms", f"p99 {percent(took, 0.99):.2f} ms", "(goal 5)")
    await own.aclose()
    # The watcher looks more often just after it saw something: both ways are measured.
    for what, events, gap_s in (("often", count, 0.01), ("after quiet times", max(4, count // 20), 2.5)):
        url = f"file:{directory}/watch-{events}.db"
        store = await open_store(url, {})
        following = store.resources.watch("mastra.ai", "Agent")
        child = await asyncio.create_subprocess_exec(sys.executable, __file__, "--write", url, str(events), str(gap_s))
        took = [await _latency(following) for _ in range(events)]
        await child.wait()
        show(
            f"another process writes {what}",
            f"p50 {percent(took, 0.5):.1f} ms",
            f"p99 {percent(took, 0.99):.1f} ms, max {max(took):.1f} ms",
            "(goal p99 50)",
        )
        await store.aclose()
    idle = await open_store(f"file:{directory}/idle.db", {})
    waiting = [asyncio.ensure_future(anext(idle.resources.watch("", ""))) for _ in range(10)]
    await asyncio.sleep(2)
    used = time.process_time()
    await asyncio.sleep(idle_s)
    watching = (time.process_time() - used) / idle_s
    await idle.aclose()
    await asyncio.gather(*waiting, return_exceptions=True)
    used = time.process_time()
    for _ in range(int(idle_s / 0.035)):
        await asyncio.sleep(0.035)
    bare = (time.process_time() - used) / idle_s
    show("ten watchers of a quiet store: CPU", f"{watching:.2%}", f"as many wake-ups of an empty loop {bare:.2%}")


async def _write(store: Store, count: int) -> None:
    for n in range(count):
        await store.commit([CreateResource(resource(n).evolve(status={"began": time.monotonic()}))])
        await asyncio.sleep(0.003)


async def _latency(following: Any) -> float:
    event = await anext(following)
    return (time.monotonic() - float(event.resource.status["began"])) * 1e3


async def vectors(directory: Path, count: int) -> None:
    pytest.importorskip("sqlite_vec")
    store = await open_store(f"file:{directory}/vectors.db", {})
    assert store.vectors is not None
    choose = random.Random(1)
    made = [[choose.gauss(0, 1) for _ in range(384)] for _ in range(1000)]
    for first in range(0, count, 1000):
        await store.vectors.upsert("c", [(f"v{first + n}", vector, {"n": n % 10}) for n, vector in enumerate(made)])
    await store.vectors.query("c", made[0])  # opens the connection, loads the extension
    turns: list[float] = []

    async def beat() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            turns.append((time.perf_counter() - start) * 1e3 - 1)

    beating = asyncio.ensure_future(beat())
    took = []
    for vector in made[:20]:
        start = time.perf_counter()
        await store.vectors.query("c", vector)
        took.append((time.perf_counter() - start) * 1e3)
    beating.cancel()
    print(f"exact vector search over {count:,} x 384")
    show("query", f"p50 {percent(took, 0.5):.1f} ms", f"max {max(took):.1f} ms", "(goal 60)")
    show("another task is late meanwhile", f"p50 {percent(turns, 0.5):.2f} ms", f"p99 {percent(turns, 0.99):.2f} ms")
    await store.aclose()


async def measure(directory: Path, *, quick: bool) -> None:
    rounds = 7 if quick else 40
    for durability in ("full", "relaxed"):
        await commits(directory, durability, rounds)
    await busy_loop(directory, rounds)
    await reads(directory, 10_000 if quick else 100_000, 5 if quick else 15)
    await journal_size(directory, TASKS, 20 if quick else 200)
    await watches(directory, 100 if quick else 600, 2 if quick else 10)
    await vectors(directory, 2000 if quick else 20_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: about 25 s")
    parser.add_argument("--dir", help="where the databases are made; default: the temporary directory")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        url, count, gap_s = arguments.write
        asyncio.run(write_for_watchers(url, int(count), float(gap_s)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        asyncio.run(measure(Path(name), quick=arguments.quick))


@pytest.mark.benchmark
def test_the_store_against_bare_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_store.py", "--quick"])
    main()


if __name__ == "__main__":
    main()
