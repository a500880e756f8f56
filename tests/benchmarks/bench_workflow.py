"""Durable steps of a workflow against the bare commit of the same driver: the same row, durability, disk and minute.

    python tests/benchmarks/bench_workflow.py [--quick] [--dir DIRECTORY] [--only PART,...] [--profile]

Parts: ``one`` run at a time, ``many`` at once, ``bytes``, ``long`` runs, ``waiting`` runs. A step is an ``operation``
whose handler returns at once; each is recorded in the journal, and durable before the next begins. The bare side writes
the same row into the same table by apsw, in a file that the store made, with ``synchronous = FULL``. The two take turns
in short rounds; printed are the least, the median and the greatest of the rounds, and of the ratios within a round.

Goals: one run at a time at most 1.5 of the bare commit a step; 200 at once 8,000 steps/s; 200 bytes a step; steps of a
run of 10,000 as fast at its end as at its beginning; under 2 KB and no task for a run that waits.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import types
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

from kastra_core import PluginManager, Runtime, RuntimeManager, hookimpl
from kastra_core.config import Config
from kastra_core.registrations import OperationRegistration
from kastra_plugin_libsql.store import open_store

STEPS = 10
AT_ONCE = 200
LONG = 10_000
PARTS = ("one", "many", "bytes", "long", "waiting")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

ticks: list[float] = []
"""When the operation was carried out, by ``perf_counter``."""


async def nothing(_: Any, __: Any) -> None:
    ticks.append(time.perf_counter())


def plugin() -> types.ModuleType:
    """A plugin that offers the operation ``bench.nothing``."""
    module = types.ModuleType("bench_workflow_plugin")

    @hookimpl
    def kastra_operations() -> list[OperationRegistration]:
        return [OperationRegistration(name="bench.nothing", handler=nothing)]

    module.kastra_operations = kastra_operations  # type: ignore[attr-defined]
    return module


def workflow(name: str, steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    spec = {"steps": list(steps), "limits": {"maxSteps": 10 * LONG}}
    return {"apiVersion": "mastra.ai/v1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}


def call(name: str) -> dict[str, Any]:
    return {"id": name, "operation": "bench.nothing", "arguments": {}}


_PASSES = {"while": "iteration < workflow.input", "maxIterations": LONG}


def line(count: int) -> list[dict[str, Any]]:
    return [call(f"step-{n}") for n in range(count)]


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Collect before, not within."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def opened(path: Path) -> RuntimeManager:
    """A runtime on a file, with the workflows of all parts."""
    plugins = PluginManager(extra=[("bench-workflow", plugin())])
    config = Config.load(path.parent, env={})
    runtime = await Runtime.open(f"file:{path}", config=config, plugins=plugins, options={"durability": "full"})
    repeated = [call("step")]
    await runtime.apply(
        [
            workflow("ten", line(STEPS)),
            workflow("single", line(1)),
            workflow("loop", [{"id": "all", "loop": {**_PASSES, "steps": repeated}}]),
            workflow("foreach", [{"id": "all", "foreach": {"items": "{{ workflow.input }}", "steps": repeated}}]),
            workflow(
                "foreach-64",
                [{"id": "all", "foreach": {"items": "{{ workflow.input }}", "concurrency": 64, "steps": repeated}}],
            ),
            workflow("suspended", [{"id": "ask", "suspend": {"message": "Go on?"}}]),
            workflow("sleeping", [{"id": "rest", "sleep": "1d"}]),
        ]
    )
    return runtime


async def run(runtime: RuntimeManager, name: str, input: Any = None) -> None:
    handle = await runtime.start_run(f"workflows/{name}", input)
    await handle.result()


class Bare:
    """Rows of the journal by apsw alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = 1; PRAGMA cache_size = -8000")
        self._records = 0

    @classmethod
    async def made(cls, path: Path) -> Bare:
        """In a file whose tables the store made."""
        store = await open_store(f"file:{path}", {})
        await store.aclose()
        return cls(path)

    def commit(self, rows: int = 1) -> None:
        """One transaction of so many rows."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for _ in range(rows):
            self._records += 1
            run, step = divmod(self._records, STEPS)
            body = orjson.dumps({"r": None, "ms": 0})
            values = ((run << 32) + step + 1, run, f"/step-{step}#0", time.time(), body)
            execute("INSERT INTO journal (id, run, path, time, record) VALUES (?, ?, ?, ?, ?)", values)
        execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class Measured:
    """One figure a round."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, value: float) -> float:
        self.values.append(value)
        return value

    def text(self, form: str = "{:.3f}", unit: str = "") -> str:
        found = sorted(self.values)
        shown = [form.format(value) for value in (found[0], statistics.median(found), found[-1])]
        return f"{' / '.join(shown)}{unit}"


def show(what: str, *more: str) -> None:
    print(f"  {what:<44} {'  '.join(more)}", flush=True)


# ------------------------------------------------------------------------------------------------ one at a time


async def one_at_a_time(directory: Path, rounds: int, runs: int) -> None:
    runtime = await opened(directory / "one.db")
    bare = await Bare.made(directory / "one-bare.db")
    for _ in range(20):
        await run(runtime, "ten")
    for _ in range(2000):
        bare.commit()
    plain, whole, within, cpu = Measured(), Measured(), Measured(), Measured()
    whole_ratio, within_ratio = Measured(), Measured()
    for _ in range(rounds):
        with quiet_gc():
            start = time.perf_counter()
            for _ in range(runs * STEPS):
                bare.commit()
            base = plain.add((time.perf_counter() - start) / runs / STEPS * 1e3)
            ticks.clear()
            used, start = time.process_time(), time.perf_counter()
            for _ in range(runs):
                await run(runtime, "ten")
            whole_ratio.add(whole.add((time.perf_counter() - start) / runs / STEPS * 1e3) / base)
            cpu.add((time.process_time() - used) / runs / STEPS * 1e3)
            spans = [ticks[first + STEPS - 1] - ticks[first] for first in range(0, runs * STEPS, STEPS)]
            within_ratio.add(within.add(sum(spans) / runs / (STEPS - 1) * 1e3) / base)
    print(f"one run of {STEPS} steps at a time, durability full: milliseconds a step, least / median / greatest")
    show("bare commit of the row", plain.text())
    show("from step to step within a run", within.text(), f"{within_ratio.text('{:.2f}')} x", "(goal 1.5)")
    show("the whole run by its steps, start and end too", whole.text(), f"{whole_ratio.text('{:.2f}')} x", "(goal 1.5)")
    show("CPU a step", cpu.text())
    bare.close()
    await runtime.aclose()


# ------------------------------------------------------------------------------------------------ many at once


async def crowd(runtime: RuntimeManager, name: str, each: int) -> None:
    """So many runs at once, one after the other in each of the places."""

    async def place() -> None:
        for _ in range(each):
            await run(runtime, name)

    await asyncio.gather(*(place() for _ in range(AT_ONCE)))


async def many_at_once(directory: Path, rounds: int, each: int) -> None:
    runtime = await opened(directory / "many.db")
    bare = await Bare.made(directory / "many-bare.db")
    await crowd(runtime, "ten", 1)
    steps = AT_ONCE * each * STEPS
    rate, cpu, wall, ceiling, bare_cpu = (Measured() for _ in range(5))
    for _ in range(rounds):
        with quiet_gc():
            used, start = time.process_time(), time.perf_counter()
            for _ in range(steps // AT_ONCE):
                bare.commit(AT_ONCE)
            ceiling.add(steps / (time.perf_counter() - start))
            bare_cpu.add((time.process_time() - used) / steps * 1e6)
            used, start = time.process_time(), time.perf_counter()
            await crowd(runtime, "ten", each)
            took = time.perf_counter() - start
            cpu.add((time.process_time() - used) / steps * 1e6)
            rate.add(steps / took)
            wall.add(took)
    print(f"{AT_ONCE} runs of {STEPS} steps at once, {each} after each other in each place: least / median / greatest")
    show("durable steps", rate.text("{:,.0f}", " /s"), "(goal 8,000)")
    show("CPU a step, all threads, start and end too", cpu.text("{:.1f}", " us"))
    show("bare rows, so many in a commit", ceiling.text("{:,.0f}", " /s"), bare_cpu.text("{:.1f}", " us CPU"))
    bare.close()
    await runtime.aclose()


# ------------------------------------------------------------------------------------------------ bytes


async def sizes(directory: Path, each: int) -> None:
    size: dict[str, float] = {}
    for name in ("ten", "single"):
        path = directory / f"bytes-{name}.db"
        runtime = await opened(path)
        await crowd(runtime, name, 1)
        await runtime.aclose()
        before = path.stat().st_size
        runtime = await opened(path)
        await crowd(runtime, name, each)
        await runtime.aclose()
        size[name] = (path.stat().st_size - before) / AT_ONCE / each
    connection = apsw.Connection(str(directory / "bytes-ten.db"), flags=apsw.SQLITE_OPEN_READONLY)
    [[rows, payload]] = connection.execute("SELECT count(*), sum(length(path) + length(record)) FROM journal")
    [[path_, record]] = connection.execute("SELECT path, record FROM journal LIMIT 1")
    connection.close()
    steps = AT_ONCE * (each + 1) * STEPS
    print(f"bytes a step, {AT_ONCE * (each + 1)} runs of {STEPS} steps")
    show("rows of the journal", f"{rows / steps:.2f} a step", f"{path_} {record.decode()}")
    show("logical: path and record", f"{payload / steps:.0f}", "with time, run and number 24 more")
    show("file: a further step of a run", f"{(size['ten'] - size['single']) / (STEPS - 1):.0f}", "(goal 200)")
    show("file: the whole run by its steps", f"{size['ten'] / STEPS:.0f}", f"a run of one step {size['single']:.0f}")


# ------------------------------------------------------------------------------------------------ long runs


async def long_runs(directory: Path, count: int) -> None:
    runtime = await opened(directory / "long.db")
    await runtime.apply([workflow("linear", line(count))])
    part = count // 10
    print(f"one run of {count:,} steps: milliseconds a step in the first and in the last {part:,}")
    for name in ("loop", "foreach", "foreach-64", "linear"):
        given = list(range(count)) if name.startswith("foreach") else count
        ticks.clear()
        with quiet_gc():
            start = time.perf_counter()
            await run(runtime, name, given)
        took = time.perf_counter() - start
        assert len(ticks) == count
        first, last = (ticks[part - 1] - ticks[0]) / (part - 1), (ticks[-1] - ticks[-part]) / (part - 1)
        show(name, f"{first * 1e3:.3f}", f"{last * 1e3:.3f}", f"{last / first:.2f} x", f"{took:.1f} s in all")
    await runtime.aclose()


# ------------------------------------------------------------------------------------------------ waiting runs


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


async def wait_for_all(runtime: RuntimeManager, name: str, count: int) -> None:
    """Start so many runs and let them leave memory."""
    for _ in range(0, count, AT_ONCE):
        await asyncio.gather(*(runtime.start_run(f"workflows/{name}") for _ in range(AT_ONCE)))
        await runtime.runs.drain()


async def waiting(directory: Path, name: str, count: int, traced: bool) -> dict[str, float]:
    """In a process of its own: what so many runs that wait cost."""
    runtime = await opened(directory / f"waiting-{name}-{traced}.db")
    # The store keeps the last resources in memory and SQLite its pages: both are full from here on.
    await wait_for_all(runtime, name, 4000)
    if traced:
        tracemalloc.start()
    gc.collect()
    tasks, before = len(asyncio.all_tasks()), resident()
    allocated = tracemalloc.get_traced_memory()[0]
    start = time.perf_counter()
    await wait_for_all(runtime, name, count)
    took = time.perf_counter() - start
    gc.collect()
    out = {
        "resident": (resident() - before) / count,
        "allocated": (tracemalloc.get_traced_memory()[0] - allocated) / count,
        "tasks": len(asyncio.all_tasks()) - tasks,
        "active": len(runtime.runs.active),
        "ms": took / count * 1e3,
    }
    used, start = time.process_time(), time.perf_counter()
    await asyncio.sleep(2)
    out["idle"] = (time.process_time() - used) / (time.perf_counter() - start)
    await runtime.aclose()
    return out


def waiting_runs(directory: Path, count: int) -> None:
    print(f"{count:,} runs that wait, beside 4,000 that waited before")
    for name in ("suspended", "sleeping"):
        found = {}
        for traced in (False, True):
            words = [sys.executable, __file__, "--wait", name, str(count), str(directory), str(int(traced))]
            done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            found[traced] = orjson.loads(done.stdout)
        plain = found[False]
        show(
            f"{name}: bytes a run",
            f"resident {plain['resident']:,.0f}",
            f"Python's own {found[True]['allocated']:,.0f}",
            "(goal 2,048)",
        )
        show(
            f"{name}: tasks more",
            f"{plain['tasks']:.0f}",
            f"runs in memory {plain['active']:.0f}",
            f"idle CPU {plain['idle']:.1%}",
            f"{plain['ms']:.2f} ms to start one and have it wait",
        )


# ------------------------------------------------------------------------------------------------


async def profiled(what: str, runtime: RuntimeManager, work: Callable[[], Awaitable[None]]) -> None:
    """Print the functions that take most time of their own in the event loop's thread."""
    await work()
    profile = cProfile.Profile()
    profile.enable()
    await work()
    profile.disable()
    print(f"profile of {what}")
    pstats.Stats(profile).sort_stats("tottime").print_stats(15)


async def profiles(directory: Path) -> None:
    runtime = await opened(directory / "profile.db")

    async def alone() -> None:
        for _ in range(200):
            await run(runtime, "ten")

    await profiled("one run at a time", runtime, alone)
    await profiled(f"{AT_ONCE} runs at once", runtime, lambda: crowd(runtime, "ten", 3))
    await runtime.aclose()


async def measure(directory: Path, parts: Sequence[str], *, quick: bool) -> None:
    if "one" in parts:
        await one_at_a_time(directory, 5 if quick else 30, 20 if quick else 50)
    if "many" in parts:
        await many_at_once(directory, 3 if quick else 10, 2 if quick else 10)
    if "bytes" in parts:
        await sizes(directory, 2 if quick else 10)
    if "long" in parts:
        await long_runs(directory, LONG // 10 if quick else LONG)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--dir", help="where the databases are made; default: the temporary directory")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--profile", action="store_true", help="profiles of one and of many in place of the figures")
    parser.add_argument("--wait", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.wait:
        name, count, place, traced = arguments.wait
        print(orjson.dumps(asyncio.run(waiting(Path(place), name, int(count), traced == "1"))).decode())
        return
    parts = arguments.only.split(",")
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        if arguments.profile:
            asyncio.run(profiles(Path(name)))
            return
        asyncio.run(measure(Path(name), parts, quick=arguments.quick))
        if "waiting" in parts:
            waiting_runs(Path(name), 1000 if arguments.quick else 10_000)


@pytest.mark.benchmark
def test_steps_of_workflows_against_the_bare_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_workflow.py", "--quick"])
    main()


if __name__ == "__main__":
    main()
