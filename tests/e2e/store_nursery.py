"""The tests' side of ``store_worker``: begin a process, read what it says, kill it, wait for its end."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

__all__ = ["KILLED", "Nursery", "Worker", "nursery"]

KILLED = -signal.SIGKILL


class Worker:
    """One process of the worker script."""

    def __init__(self, nursery: Nursery, number: int, log: Path) -> None:
        self._nursery, self._number, self._log = nursery, number, log
        loop = asyncio.get_running_loop()
        self.pid: asyncio.Future[int] = loop.create_future()
        self.code: asyncio.Future[int] = loop.create_future()

    def said(self) -> list[str]:
        """The whole lines that it said so far."""
        text = self._log.read_text(encoding="utf-8") if self._log.exists() else ""
        return text.splitlines()[: text.count("\n")]

    async def says(self, lines: int) -> list[str]:
        """Wait until it said so many lines; fails when it ended before."""
        async with asyncio.timeout(60):
            while True:
                ended = self.code.done()
                if len(found := self.said()) >= lines:
                    return found
                assert not ended, f"ended with {self.code.result()} after {found[-3:]}"
                await asyncio.sleep(0.002)

    async def started(self) -> int:
        return await asyncio.shield(self.pid)

    def signal(self, number: int) -> None:
        self._nursery.write({"signal": number, "to": self._number})

    async def end(self) -> int:
        """The exit code; negative: the signal that ended it."""
        async with asyncio.timeout(60):
            return await asyncio.shield(self.code)


class Nursery:
    """The process that forks the workers."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self._process, self._directory = process, directory
        self._numbers = itertools.count()
        self._workers: dict[int, Worker] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            news = json.loads(line)
            worker = self._workers[news["job"]]
            if "pid" in news:
                worker.pid.set_result(news["pid"])
            else:
                worker.code.set_result(news["code"])

    def write(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def begin(self, do: str, **job: Any) -> Worker:
        number = next(self._numbers)
        log = self._directory / f"log-{number}"
        worker = self._workers[number] = Worker(self, number, log)
        self.write({**job, "do": do, "id": number, "log": str(log)})
        return worker

    async def aclose(self) -> None:
        for worker in self._workers.values():
            worker.signal(signal.SIGKILL)
        await asyncio.gather(*(worker.end() for worker in self._workers.values()))
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader


@asynccontextmanager
async def nursery(directory: Path) -> AsyncIterator[Nursery]:
    """A nursery whose workers are gone at the end; what they say is kept in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("store_worker.py")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, script, stdin=pipe, stdout=pipe)
    found = Nursery(process, directory)
    try:
        yield found
    finally:
        await found.aclose()
