"""A process that forks the processes of the tests of a store; each uses the store as one job says.

Forked, because a start of Python costs more than most of the jobs. Jobs are lines of JSON on stdin: ``do`` names the
function, ``id`` the job; ``{"signal", "to"}`` sends a signal to a job's process. On stdout: ``{"job", "pid"}`` when one
began, ``{"job", "code"}`` when one ended. What a job has to say it appends to its file ``log``, a line at a time and
without a buffer: what was said outlives a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import apsw

from fork_server import serve
from kastra_core.api.meta import Resource
from kastra_core.errors import StoreUnavailableError
from kastra_core.protocols.store import SetState, Store
from kastra_plugin_libsql import _writer
from kastra_plugin_libsql.store import open_store
from store_history import follow, follow_signals, follow_state, write
from store_load import Script

Say = Callable[[str], object]


def restless() -> None:
    """Let the writer do its rare work all the time: checkpoints, cutting history, sweeping."""
    for name, value in (("_CHECKPOINT_PAGES", 30), ("_COMPACT_EVENTS", 8), ("_SWEEP_S", 0.02)):
        assert hasattr(_writer, name), f"{name} has another name now"
        setattr(_writer, name, value)


def stopper() -> asyncio.Event:
    """Set at SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


async def commit(store: Store, script: Script) -> int:
    """Do the next commit of a script; return the highest resourceVersion that it gave, 0 for none."""
    action = script.next()
    results = await (action(store) if callable(action) else store.commit(action))
    found = results if isinstance(results, list) else []
    return max((int(r.metadata.resource_version) for r in found if isinstance(r, Resource)), default=0)


# ---------------------------------------------------------------------------------------------- jobs: kill


async def load(job: dict[str, Any], say: Say) -> None:
    """Carry out ``scripts``, one task each, until SIGTERM; say ``name count version`` after each commit.

    ``checkpoints`` (a seed): another connection copies the write-ahead log into the file again and again.
    """
    restless()
    store = await open_store(job["url"], job.get("options", {}))
    stop = stopper()

    async def task(name: str) -> None:
        script = Script(name)
        while not stop.is_set():
            version = await commit(store, script)
            say(f"{name} {script.count} {version}")

    if "checkpoints" in job:
        threading.Thread(
            target=_checkpoint, args=(job["url"].removeprefix("file:"), job["checkpoints"]), daemon=True
        ).start()
    await asyncio.gather(*(task(name) for name in job["scripts"]))
    await store.aclose()


def _checkpoint(path: str, seed: int) -> None:
    random = Random(seed)
    connection = apsw.Connection(path)
    while True:
        mode = random.choice(("PASSIVE", "FULL", "RESTART", "TRUNCATE"))
        with contextlib.suppress(apsw.BusyError):
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        time.sleep(random.uniform(0.0, 0.02))


async def open_and_write(job: dict[str, Any], say: Say) -> None:
    """Open a store, set one value, say so, close it."""
    store = await open_store(job["url"], job.get("options", {}))
    await store.commit([SetState("opened", {job["name"]: 1})])
    say(job["name"])
    await store.aclose()


# ---------------------------------------------------------------------------------------------- jobs: power


class _RecordingFile(apsw.VFSFile):
    def __init__(self, log: list[tuple[Any, ...]], name: Any, flags: list[int]) -> None:
        self._log, self._name = log, Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "").name
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._log.append(("write", self._name, offset, bytes(data)))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._log.append(("sync", self._name))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._log.append(("truncate", self._name, size))


class RecordingDisk(apsw.VFS):
    """SQLite's files, and a log of all that is done to them; the files of a process that makes one go through it."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        super().__init__("recording", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> _RecordingFile:
        return _RecordingFile(self.log, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        super().xDelete(name, sync)
        self.log.append(("delete", Path(name).name))


async def record(job: dict[str, Any], say: Say) -> None:
    """Carry out one script by several tasks, its commits in order; write what was done to the files, with a line for
    each commit that returned, to ``disk``."""
    restless()
    _writer._CHECKPOINT_PAGES = job["checkpoint_pages"]
    disk = RecordingDisk()
    store = await open_store(job["url"], job["options"])
    script = Script(job["script"], plain=True)
    disk.log.append(("open",))

    async def task() -> None:
        while script.count < job["commits"]:
            action = script.next()
            number = script.count
            assert not callable(action)
            # Nothing is awaited between next() and commit(): so the order of commits is the script's.
            await store.commit(action)
            disk.log.append(("commit", number))

    await asyncio.gather(*(task() for _ in range(job["tasks"])))
    log = list(disk.log)
    await store.aclose()
    Path(job["disk"]).write_bytes(pickle.dumps(log))


# ---------------------------------------------------------------------------------------------- jobs: bad disk


class _FailingFile(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        half = self._disk.fate((apsw.FullError, apsw.IOError))
        if half is not None:
            super().xWrite(data[: len(data) // 2], offset)
            raise half
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        failure = self._disk.fate((apsw.IOError,))
        if failure is not None:
            raise failure
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        failure = self._disk.fate((apsw.IOError,))
        if failure is not None:
            raise failure
        super().xTruncate(size)


class FailingDisk(apsw.VFS):
    """A disk on which from time to time a write is done by half, or a sync fails."""

    def __init__(self, random: Random) -> None:
        self.random, self.rate, self.failures = random, 0.0, 0
        super().__init__("failing", "unix", makedefault=True)

    def fate(self, kinds: tuple[type[Exception], ...]) -> Exception | None:
        if self.random.random() >= self.rate:
            return None
        self.failures += 1
        return self.random.choice(kinds)("the disk of this test")

    def xOpen(self, name: Any, flags: list[int]) -> _FailingFile:
        return _FailingFile(self, name, flags)


async def retry(job: dict[str, Any], say: Say) -> None:
    """Carry out scripts on a failing disk. A commit that fails is tried again, as it was: it must have left nothing."""
    restless()
    random = Random(job["seed"])
    disk = FailingDisk(random)
    store = await open_store(job["url"], job["options"])
    disk.rate = job["rate"]

    async def task(name: str) -> None:
        script = Script(name)
        for _ in range(job["commits"]):
            action = script.next()
            while True:
                try:
                    await (action(store) if callable(action) else store.commit(action))
                    break
                except StoreUnavailableError as error:
                    if "k.db" not in str(error):
                        raise
            say(f"{name} {script.count} 0")

    await asyncio.gather(*(task(name) for name in job["scripts"]))
    disk.rate = 0.0
    say(f"failures {disk.failures} 0")
    await store.aclose()


# ---------------------------------------------------------------------------------------------- jobs: histories


async def history(job: dict[str, Any], say: Say) -> None:
    """Write and watch as the plan of one process says; see ``store_history``."""
    restless()
    store = await open_store(job["url"], job["options"])
    plan, ready = job["plan"], Path(job["ready"])
    watching = [
        *(follow(store, watcher) for watcher in plan["watchers"]),
        follow_signals(store),
        follow_state(store),
    ]
    tasks = [asyncio.create_task(one) for one in watching]
    await asyncio.sleep(0)  # each watch begins in its task's first turn
    say(json.dumps({"ready": True}))
    while not ready.exists():
        await asyncio.sleep(0.002)
    writing = [asyncio.create_task(write(store, job["name"], at, steps)) for at, steps in enumerate(plan["tasks"])]
    for at, written in enumerate(writing):
        say(json.dumps({"wrote": at, "log": await written}))
    say(json.dumps({"done": True}))
    *seen, signals, state = await asyncio.gather(*tasks)
    for watcher, one in zip(plan["watchers"], seen):
        say(json.dumps({"saw": one, "watcher": watcher}))
    say(json.dumps({"signals": signals, "state": state}))
    await store.aclose()


# ---------------------------------------------------------------------------------------------- processes

JOBS: dict[str, Callable[[dict[str, Any], Say], Coroutine[Any, Any, None]]] = {
    job.__name__: job for job in (load, open_and_write, record, retry, history)
}


def _child(job: dict[str, Any]) -> None:
    code = 1
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        say = lambda line: os.write(log, line.encode() + b"\n")  # noqa: E731
        asyncio.run(asyncio.wait_for(JOBS[job["do"]](job, say), job.get("within_s", 50.0)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    serve(_child, ("importlib.metadata", "hashlib"))


if __name__ == "__main__":
    main()
