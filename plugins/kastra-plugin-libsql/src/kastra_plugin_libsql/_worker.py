"""A thread that does the blocking part: waiting for another program's lock, and for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import asyncio

__all__ = ["Worker"]

_LATE_S = 0.001
_HELD_JOBS = 64
_HOLD_S = 0.002
_NUDGE_S = 0.001
_PAUSE_S = 0.0001

_Job: TypeAlias = (
    "tuple[asyncio.AbstractEventLoop, Callable[[], Any], Callable[[Any, BaseException | None], object], float, bool]"
)


class Worker:
    """Started at its first job. A daemon, so a program that forgets to close its store still ends.

    A loop that is never idle may keep the interpreter lock from the thread: for 5 ms (``sys.getswitchinterval``) when
    its turns are long, for seconds when they are short, since it takes the lock back sooner than the thread wakes up.
    So while a job is under way the loop sleeps 0.1 ms every millisecond, which lets the thread have the lock. When
    jobs are seen to start late, the loop hands the next ones over by hand as well: it waits, some 50 us, until the
    thread has taken the job.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._hold = 0
        self._taken = threading.Semaphore(0)
        self._given = self._done = 0
        self._nudger: asyncio.TimerHandle | None = None
        self._nudged: asyncio.AbstractEventLoop | None = None

    def do(
        self,
        loop: asyncio.AbstractEventLoop,
        job: Callable[[], Any],
        done: Callable[[Any, BaseException | None], object],
    ) -> None:
        """Call ``job()`` in the thread, then ``done(result, error)`` in the loop."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        hold = self._hold > 0
        while hold and self._taken.acquire(blocking=False):
            pass  # left over from a wait that ended early
        self._given += 1
        self._jobs.put((loop, job, done, perf_counter(), hold))
        if hold:
            self._hold -= 1
            self._taken.acquire(timeout=_HOLD_S)
        if self._nudger is None or self._nudged is not loop:
            self._nudged = loop
            self._nudger = loop.call_later(_NUDGE_S, self._nudge, loop)

    def _nudge(self, loop: asyncio.AbstractEventLoop) -> None:
        self._nudger = None
        if self._done < self._given:
            sleep(_PAUSE_S)
            self._nudger = loop.call_later(_NUDGE_S, self._nudge, loop)

    async def call(self, job: Callable[[], Any]) -> Any:
        """Await ``job()`` done in the thread."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.do(loop, job, done)
        return await future

    def stop(self, *, wait: bool = True) -> None:
        """End the thread after the jobs given so far; ``wait`` until then."""
        if self._nudger is not None:
            self._nudger.cancel()
            self._nudger = None
        if self._thread is not None:
            self._jobs.put(None)
            if wait:
                self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            loop, job, done, given, hold = item
            if hold:
                self._taken.release()
            elif perf_counter() - given > _LATE_S:
                self._hold = _HELD_JOBS
            result, error = None, None
            try:
                result = job()
            except BaseException as err:
                error = err
            self._done += 1
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(done, result, error)
            del item, loop, job, done, result, error
