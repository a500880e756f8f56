"""A de-duplicated queue of keys with retries, as client-go's workqueue means it.

A key that is added twice before it is taken is handed out once. A key that is added while somebody works on it is
handed out again after ``done``: never two workers on one key, and no change is missed.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["Cancellable", "QueueShutDown", "WorkQueue", "backoff_s"]

T = TypeVar("T", bound=Hashable)


class QueueShutDown(Exception):
    """The queue is shut down and empty: the worker that called ``get`` should end."""


class Cancellable(Protocol):
    def cancel(self) -> object: ...


def backoff_s(
    failures: int,
    *,
    base_s: float = 0.005,
    cap_s: float = 1000.0,
    jitter: float = 0.0,
    rand: Callable[[], float] = random.random,
) -> float:
    """Return the wait before the next try: doubling from ``base_s``, at most ``cap_s``.

    Args:
        failures: failed tries in a row, >= 1.
        base_s, cap_s: seconds, 0 < base_s <= cap_s.
        jitter: up to this part (0 to 1) of the wait is taken off at random, so that those that failed together do
            not come back together.
        rand: uniform in [0, 1).
    Raises:
        ValueError: failures < 1.
    Source:
        5 ms and 1000 s are those of client-go, util/workqueue/default_rate_limiters.go.

    >>> backoff_s(4)
    0.04
    """
    if failures < 1:
        raise ValueError(f"failures must be >= 1, got {failures}")
    # The inner cap: 2.0**1024 overflows.
    wait = min(base_s * 2.0 ** min(failures - 1, 1000), cap_s)
    return wait * (1.0 - jitter * rand()) if jitter else wait


class WorkQueue(Generic[T]):
    """Queue of keys for the workers of one event loop. All methods but ``get`` are plain calls.

    Delayed keys wait in one heap with one timer, so ten thousand of them cost ten thousand tuples and no task.

    Args:
        base_s, cap_s, jitter: backoff of :meth:`add_rate_limited`, see :func:`backoff_s`.
        clock: monotonic seconds.
        rand: uniform in [0, 1).
        call_later: ``call_later(delay_s, callback)`` sets the timer; default that of the running event loop.
    """

    def __init__(
        self,
        *,
        base_s: float = 0.005,
        cap_s: float = 1000.0,
        jitter: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
        call_later: Callable[[float, Callable[[], None]], Cancellable] | None = None,
    ) -> None:
        self._base_s, self._cap_s, self._jitter = base_s, cap_s, jitter
        self._clock, self._rand, self._call_later = clock, rand, call_later
        self._ready: deque[T] = deque()
        self._dirty: set[T] = set()
        self._processing: set[T] = set()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._failures: dict[T, int] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._due: dict[T, float] = {}
        self._sequence = 0
        self._timer: Cancellable | None = None
        self._timer_at = 0.0
        self._shut_down = False

    def __len__(self) -> int:
        """Keys that are ready to be taken."""
        return len(self._ready)

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._due)

    @property
    def in_progress(self) -> int:
        """Keys that somebody works on."""
        return len(self._processing)

    @property
    def idle(self) -> bool:
        """Nothing is ready and nothing is worked on (keys may wait for their time)."""
        return not self._dirty and not self._processing

    @property
    def waiting_workers(self) -> int:
        """Calls of ``get`` that wait for a key."""
        return len(self._getters)

    @property
    def is_shut_down(self) -> bool:
        return self._shut_down

    def holds(self, key: T) -> bool:
        """Whether ``key`` is ready or worked on (not: waits for its time)."""
        return key in self._dirty or key in self._processing

    def add(self, key: T) -> None:
        """Have ``key`` handed out. Nothing happens when it is ready already, or the queue is shut down."""
        if key in self._dirty or self._shut_down:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            if self._getters:
                self._wake()

    async def get(self) -> T:
        """Return the next key, in the order of adding. Call :meth:`done` with it afterwards.

        Does not give way to other tasks when a key is ready.

        Raises:
            QueueShutDown: it is shut down and no key is left.
        """
        while not self._ready:
            if self._shut_down:
                raise QueueShutDown
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except BaseException:
                if getter.done() and not getter.cancelled():
                    # Woken and cancelled in the same moment: the key is for another worker.
                    if self._ready:
                        self._wake()
                else:
                    self._getters.remove(getter)
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: T) -> None:
        """Say that the work on ``key`` has ended, well or badly; it is ready again when it was added meanwhile."""
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            if self._getters:
                self._wake()

    def add_after(self, key: T, delay_s: float) -> None:
        """Add ``key`` in ``delay_s`` seconds (at once when <= 0). Of several delays the one that ends first counts."""
        if self._shut_down:
            return
        if delay_s <= 0:
            self.add(key)
            return
        due = self._clock() + delay_s
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        if self._timer is None or due < self._timer_at:
            self._set_timer(due)

    def add_rate_limited(self, key: T) -> None:
        """Add ``key`` after a wait that doubles with each call until :meth:`forget`."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        self.add_after(
            key,
            backoff_s(failures, base_s=self._base_s, cap_s=self._cap_s, jitter=self._jitter, rand=self._rand),
        )

    def forget(self, key: T) -> None:
        """Start the backoff of ``key`` afresh."""
        self._failures.pop(key, None)

    def num_requeues(self, key: T) -> int:
        """Calls of :meth:`add_rate_limited` since the last :meth:`forget`."""
        return self._failures.get(key, 0)

    def shut_down(self, *, discard: bool = False) -> None:
        """Take nothing more. Workers get what is ready and then QueueShutDown; what waits for its time is dropped.

        ``discard``: what is ready is dropped too.
        """
        self._shut_down = True
        self._heap.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if discard:
            self._ready.clear()
            self._dirty.clear()
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)
        self._getters.clear()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        call_later = self._call_later or asyncio.get_running_loop().call_later
        self._timer_at = due
        self._timer = call_later(max(0.0, due - self._clock()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        heap, known, now = self._heap, self._due, self._clock()
        while heap:
            due, _, key = heap[0]
            if known.get(key) != due:
                heapq.heappop(heap)  # an earlier time took its place
                continue
            if due > now:
                self._set_timer(due)
                return
            heapq.heappop(heap)
            del known[key]
            self.add(key)
