"""The tests' side of ``crash_process``: begin processes, kill them, and see what they left behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

from kastra_core.api.kind import MAIN_GROUP
from kastra_core.api.meta import Resource, ResourceKey
from kastra_core.protocols.store import Store
from kastra_plugin_libsql.store import open_store

__all__ = ["DOOMS", "KILLED", "ROUNDS", "Nursery", "Place", "Process", "nursery_of", "places", "until"]

KILLED = -signal.SIGKILL
ROUNDS = int(os.environ.get("KASTRA_CRASH_ROUNDS", "2"))
DOOMS = ("before", "amid", "after")

P = TypeVar("P", bound="Place")


class Process:
    """A process of the worker module."""

    def __init__(self, pid: asyncio.Future[int], code: asyncio.Future[int]) -> None:
        self._pid, self._code = pid, code

    async def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal; False when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(await self._pid, number)
            return True
        return False

    async def end(self) -> int:
        """The exit code; negative: the signal that ended it."""
        async with asyncio.timeout(60):
            return await self._code


class Nursery:
    """The process that forks the workers."""

    def __init__(self, process: asyncio.subprocess.Process, script: str) -> None:
        self._process, self.script = process, script
        self._numbers = itertools.count()
        self._jobs: dict[int, tuple[asyncio.Future[int], asyncio.Future[int]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            news = json.loads(line)
            pid, code = self._jobs[news["job"]]
            if "pid" in news:
                pid.set_result(news["pid"])
            else:
                code.set_result(news["code"])

    def begin(self, job: dict[str, Any]) -> Process:
        assert self._process.stdin is not None
        loop, number = asyncio.get_running_loop(), next(self._numbers)
        self._jobs[number] = loop.create_future(), loop.create_future()
        self._process.stdin.write(json.dumps({**job, "id": number}).encode() + b"\n")
        return Process(*self._jobs[number])

    async def aclose(self) -> None:
        for pid, code in self._jobs.values():
            if pid.done() and not code.done():
                with contextlib.suppress(ProcessLookupError):  # it ended just now
                    os.kill(pid.result(), signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        self._reader.cancel()


class Place:
    """A database file with the resources of the test, and the log of what operations did to the world."""

    def __init__(self, nursery: Nursery, directory: Path, prepared: bytes | None) -> None:
        directory.mkdir(parents=True)
        self.nursery, self.directory, self.log = nursery, directory, directory / "log"
        self.runs: Mapping[str, tuple[str, Any]] = {}
        """What runs here: (target, input) by the name of the run."""
        self.url = f"file:{directory / 'kastra.db'}"
        self.killed = 0
        self.after_commit: Counter[str] = Counter()
        """By idempotency key of what was recorded: how often it had been carried out by then."""
        if prepared is not None:
            (directory / "kastra.db").write_bytes(prepared)

    def begin(self, do: str, **more: Any) -> Process:
        """Begin a process; see ``crash_process.work``."""
        place = {"project": str(self.directory), "store": self.url, "log": str(self.log)}
        return self.nursery.begin({"do": do, "runs": self.runs, **place, **more})

    def commits(self) -> int:
        """How many there were in the process that was begun with ``census``."""
        return int((self.directory / "census").read_text(encoding="utf-8"))

    async def relay(
        self, chance: random.Random, commits: int, look: Callable[[], Awaitable[Any]] | None = None, **more: Any
    ) -> None:
        """Two processes do the runs; now the one dies at a commit of its own, now the other, and another one comes.

        Args:
            commits: how many an undisturbed process has. One of the two has half of them at least, and each dies
                before that: the first death is always in the midst of a run, however quick the machine is.
            look: called after each death.
        """
        deaths = chance.randint(2, 4)

        def begin(do: str) -> asyncio.Task[int]:
            doom = [chance.randint(4, commits // 3), chance.choice(DOOMS)] if self.killed < deaths else None
            return asyncio.create_task(self.begin(do, doom=doom, **more).end())

        living = {begin("run"), begin("serve")}
        while living:
            ended, living = await asyncio.wait(living, return_when=asyncio.FIRST_COMPLETED)
            for process in ended:
                if (code := process.result()) != 0:
                    assert code == KILLED
                    await self.after_kill()
                    if look is not None:
                        await look()
                    living.add(begin("run"))
        assert self.killed

    async def stop(self, process: Process) -> None:
        """Stop a process, but not within a commit: nobody else could write until it goes on."""
        while True:
            await process.kill(signal.SIGSTOP)
            database = sqlite3.connect(self.directory / "kastra.db", timeout=0.2)
            with closing(database), contextlib.suppress(sqlite3.OperationalError):
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
                return
            await process.kill(signal.SIGCONT)

    def _lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def calls(self) -> Counter[str]:
        """Executions by idempotency key."""
        return Counter(line.split()[1] for line in self._lines())

    def names(self) -> Counter[str]:
        """Executions by what was done."""
        return Counter(line.split()[0] for line in self._lines())

    async def look(self, reading: Callable[[Store], Awaitable[Any]]) -> Any:
        store = await open_store(self.url, {})
        try:
            return await reading(store)
        finally:
            await store.aclose()

    async def after_kill(self) -> None:
        """Remember what is recorded now: nothing of that may be carried out again."""
        self.killed += 1

        async def recorded(store: Store) -> list[str]:
            runs = [run.metadata.uid for run in (await store.resources.list(MAIN_GROUP, "Run")).items]
            return [f"{uid}{line.path}" for uid in runs for line in await store.journal.records(uid)]

        paths = await self.look(recorded)
        calls = self.calls()  # after that: another process may be at work
        for path in paths:
            key = hashlib.sha256(path.encode()).hexdigest()
            self.after_commit.setdefault(key, calls[key])

    async def phase(self, name: str) -> str:
        """Phase of a run; "" before there is one."""

        async def read(store: Store) -> str:
            run = await store.resources.get(ResourceKey(MAIN_GROUP, "Run", "default", name))
            return str(run.status.get("phase")) if run is not None else ""

        return str(await self.look(read))

    def keys(self) -> Counter[str]:
        """Different idempotency keys by what was done."""
        return Counter(line.split()[0] for line in dict.fromkeys(self._lines()))

    async def outcome(self) -> dict[str, Any]:
        """What a run leaves behind, without uids and times; asserts what must hold however often it was killed."""
        calls = self.calls()

        async def read(store: Store) -> dict[str, Any]:
            assert await store.journal.claims() == []
            assert not [lease for lease in await store.leases.list("worker/") if _alive(lease.data["pid"])]
            runs = (await store.resources.list(MAIN_GROUP, "Run")).items
            messages = await store.threads.messages("default", "t")
            return {
                "runs": sorted([_essence(run) for run in runs], key=str),
                "messages": [stored.message for stored in messages],
                "paths": sorted([line.path for run in runs for line in await store.journal.records(run.metadata.uid)]),
            }

        found: dict[str, Any] = await self.look(read)
        for key, count in self.after_commit.items():
            assert calls[key] == count, "an operation whose result was recorded was carried out again"
        assert all(count <= 1 + self.killed for count in calls.values())
        return found


@asynccontextmanager
async def nursery_of(script: str) -> AsyncIterator[Nursery]:
    """A nursery of processes of a script beside this file."""
    worker = Path(__file__).with_name(script)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, worker, stdin=pipe, stdout=pipe)
    made = Nursery(process, script)
    try:
        yield made
    finally:
        await made.aclose()


_prepared: dict[str, bytes] = {}
"""The file of a place, by the script of its processes."""


async def places(nursery: Nursery, directory: Path, kind: type[P]) -> Callable[[], P]:
    """Makes places that are alike."""
    prepared = _prepared.get(nursery.script)
    if prepared is None:
        first = kind(nursery, directory / "first", None)
        assert await first.begin("prepare").end() == 0
        prepared = _prepared[nursery.script] = (first.directory / "kastra.db").read_bytes()
    numbers = itertools.count()
    return lambda: kind(nursery, directory / str(next(numbers)), prepared)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _essence(run: Resource) -> dict[str, Any]:
    status, spec = run.status, run.spec
    kept = {name: status.get(name) for name in ("phase", "output", "reason", "message", "usage")}
    return {**kept, "target": spec["target"]["name"], "child": "parent" in spec}
